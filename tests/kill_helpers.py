"""Ends a run as kill -9 does: no handler writes a checkpoint."""


def kill_at(round_num):
    """An `on_round` that raises RuntimeError("killed") in a round."""

    def on_round(row):
        if row["round"] == round_num:
            raise RuntimeError("killed")

    return on_round
