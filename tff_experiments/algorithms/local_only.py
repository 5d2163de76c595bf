"""Each client alone: the baseline that says what federation is worth to a client.

    v_k <- ClientUpdate(k, v_k)        in the rounds in which client k takes part; v_k is kept

Nothing is sent but the metrics of the training. The server's weights stay the first ones, from
which each v_k starts.

The plain evaluation, `test/...`, is of these first weights and never changes: read
`--eval_personalized`, which takes the stored v_k, and the first weights for clients that have none
yet, which it counts. The bytes that the runtime counts as downlink are the first weights, which a
client needs once.
"""

import dataclasses

from tff_experiments.algorithms import composition, personal_models, rules
from tff_experiments.algorithms import ingredients as ingredients_lib

NEEDS = ingredients_lib.Needs(
    client_state=True, supports_attacks=False, server_step=False, personal=True
)


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Training alone has no knobs."""


def build(hparams: Hparams, ingredients: ingredients_lib.Ingredients) -> composition.Process:
    """Makes the process."""
    del hparams

    def client_update(model, received, client):
        own = personal_models.train(model, received, client, optimizer=ingredients.client_optimizer)
        return rules.ClientResult({}, state=own)

    return composition.build(
        ingredients,
        rules.Rules(
            client_update=client_update,
            server_update=lambda step, weights, state, means, totals: (weights, state),
            client_state=personal_models.first,
            personalize=personal_models.personalize,
        ),
    )
