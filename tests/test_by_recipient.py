"""Routing of sealed shares: the server's arrays against dictionaries."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tff_experiments.secure_sum import messages

CLIENTS = st.integers(1, 300)
SIZE = 3


@settings(deadline=None, max_examples=100, derandomize=True)
@given(st.dictionaries(CLIENTS, st.dictionaries(CLIENTS, st.binary(min_size=SIZE, max_size=SIZE))))
def test_each_recipient_gets_what_was_for_it(sent):
    tables = {sender: messages.table(strings) for sender, strings in sent.items()}
    got = {}
    for sender, strings in sent.items():
        for recipient, string in strings.items():
            got.setdefault(recipient, {})[sender] = string
    wanted = {recipient: messages.table(strings) for recipient, strings in got.items()}
    found = messages.by_recipient(tables, SIZE)
    assert found == wanted
    assert {messages.encode(0, b"", table) for table in found.values()} == {
        messages.encode(0, b"", table) for table in wanted.values()
    }
