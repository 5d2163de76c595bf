"""What does not go together, told by what plug-ins say of themselves, before anything is built."""

from typing import Any

# What of a cohort no accountant here has a rule for.
_COHORTS = {"pooled": "has one client", "buffered": "draws clients by who came back first"}


def check(
    *,
    algorithm: str,
    needs: Any,
    aggregator: str,
    aggregation: Any,
    secure_sum: str,
    is_secure: bool,
    allow_plain_slots: bool,
    runtime: str,
    server_optimizer: str,
    attack: str = "none",
    changes_updates: bool = False,
    eval_personalized: bool = False,
    clients_misbehave: bool = False,
    has_canaries: bool = False,
    lossy: str = "",
    steps: bool = False,
) -> None:
    """Refuses combinations.

    Args:
        algorithm: Its name.
        needs: Its `NEEDS`, an `algorithms.ingredients.Needs`.
        aggregator: Its name.
        aggregation: Its module: `SUPPORTS_SECURE_SUM` and `STACKED`.
        secure_sum: The protocol's name.
        is_secure: Whether it hides what clients send.
        allow_plain_slots: Whether the user takes it that something is sent in the clear.
        runtime: Its name.
        server_optimizer: Its name.
        attack: What some clients do.
        changes_updates: Whether attackers change what they send.
        eval_personalized: Whether clients' own models are evaluated.
        has_canaries: Whether some clients are canaries.
        clients_misbehave: Whether they are away or late, drop out or attack.
        lossy: What makes an aggregator that loses something of what clients send lose nothing;
            "" where there is nothing to be done.
        steps: Whether flags of the server's optimizer were given.

    Raises:
        ValueError: The combination can't run as asked; says why, and what would.
    """
    if is_secure and not allow_plain_slots:
        hidden = f"in the clear, and --secure_sum={secure_sum} is to hide it"
        if not needs.supports_secure_sum:
            raise ValueError(
                f"--algorithm={algorithm} needs what each client sends {hidden}; use "
                f"--secure_sum=plain, or another algorithm."
            )
        if aggregation.STACKED:
            raise ValueError(
                f"--aggregator={aggregator} needs each client's update by itself, {hidden}; use "
                f"--aggregator=secure_mean, or --secure_sum=plain."
            )
        if not aggregation.SUPPORTS_SECURE_SUM:
            raise ValueError(
                f"--aggregator={aggregator} sends each client's update {hidden}; use "
                f"--aggregator=secure_mean, --secure_sum=plain, or --allow_plain_slots to accept "
                f"it."
            )
    if runtime == "native":
        if eval_personalized:
            raise ValueError(
                "--eval_personalized hands metrics out by client, which TFF's native runtime does "
                "not; use --runtime=local."
            )
        if needs.client_state:
            raise ValueError(
                f"--algorithm={algorithm} keeps a state on clients, which TFF's native runtime has "
                f"no place for; use --runtime=local."
            )
        if needs.cohort == "buffered":
            raise ValueError(
                f"--algorithm={algorithm} tells clients which model they start from, which TFF's "
                f"native runtime has no place for; use --runtime=local."
            )
    if changes_updates and (runtime == "native" or not needs.supports_attacks):
        where = "--runtime=native" if runtime == "native" else f"--algorithm={algorithm}"
        raise ValueError(
            f"--attack_kind={attack} changes what clients send, for which {where} has no place; "
            f"use --attack_kind=label_flip, or another."
        )
    if has_canaries and (runtime == "native" or not needs.supports_attacks or needs.personal):
        where = "--runtime=native" if runtime == "native" else f"--algorithm={algorithm}"
        raise ValueError(
            f"--canary_count changes what clients send, for which {where} has no place; use "
            f"--runtime=local and an algorithm such as fed_avg."
        )
    if needs.cohort == "pooled" and (clients_misbehave or has_canaries):
        raise ValueError(
            f"--algorithm={algorithm} has all data in one place, where nobody is away or late, "
            f"drops out, attacks or is a canary; leave these flags out."
        )
    if needs.exact_mean and lossy:
        raise ValueError(
            f"--algorithm={algorithm} goes wrong for good where something of what clients send is "
            f"lost, and --aggregator={aggregator} clips; use {lossy}, or --aggregator=mean."
        )
    if steps and not needs.server_step:
        raise ValueError(
            f"--algorithm={algorithm} has no server optimizer; leave --server_optimizer, "
            f"--server_learning_rate, --server_momentum and --server_schedule out."
        )
    if needs.is_optimizer and server_optimizer != "sgd":
        raise ValueError(
            f"--algorithm={algorithm} is the server's optimizer itself; leave "
            f"--server_optimizer={server_optimizer} out."
        )


def check_private(
    *,
    algorithm: str,
    needs: Any,
    hparams: Any,
    aggregator: str,
    runtime: str,
    all_are_there: bool,
    nobody_is_late: bool,
) -> None:
    """Refuses what differential privacy has no rule for.

    Args:
        algorithm: Its name.
        needs: Its `NEEDS`.
        hparams: Its knobs.
        aggregator: The name of the private aggregator.
        runtime: Its name.
        all_are_there: Whether any client may be drawn in any round.
        nobody_is_late: Whether rounds take whom they drew.

    Raises:
        ValueError: With the reason, and what would run.
    """
    what = f"--aggregator={aggregator}"
    if getattr(hparams, "weighting", "uniform") != "uniform":
        raise ValueError(
            f"{what} bounds what a client changes by its clip, and with weights by examples by "
            f"more; use --{algorithm}_weighting=uniform."
        )
    if needs.own_weights:
        raise ValueError(
            f"--algorithm={algorithm} needs a weighted mean, and {what} has equal weights; use "
            f"another algorithm, such as fed_avg."
        )
    if needs.cohort in _COHORTS:
        raise ValueError(
            f"--algorithm={algorithm} {_COHORTS[needs.cohort]}, which no accountant covers; use "
            f"another algorithm or another aggregator."
        )
    if runtime == "native":
        raise ValueError(
            f"{what}: its noise comes from the operating system, which --runtime={runtime} does "
            f"not bring into a round; use --runtime=local."
        )
    if not all_are_there:
        raise ValueError(
            f"{what}: no accountant covers clients who are away at known times; use "
            f"--availability_model=always."
        )
    if not nobody_is_late:
        raise ValueError(
            f"{what}: over-selection and deadlines take the fast ones, which no accountant covers; "
            f"leave --overselect and --round_deadline_s out."
        )
