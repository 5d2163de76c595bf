"""What a run spends: mechanisms and participation as frozen data, accountants apart from them.

    mechanism      what noise goes where (`mechanisms`, `distributed`)
    participation  how clients come to rounds (`participation`)
    rules          the two together as `dp_accounting` events, or a refusal (`rules`)
    accountants    RDP and PLD over those events (`accountants`)
    budget         epsilon planned and actual, and the noise for a target (`budget`)

The unit of privacy is a client with all its examples. Nothing here draws noise or knows of models.
"""
