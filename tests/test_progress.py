"""What a run shows, from rows that were not run."""

from tff_experiments import progress

ROWS = [
    {"round": 1, "seconds/round": 1.0, "train/loss": 2.0, "test/accuracy": 0.25},
    {"round": 2, "seconds/round": 3.0, "train/aborted": 1},
    {"round": 3, "seconds/round": 2.0, "train/loss": 1.0, "test/accuracy": 0.5, "test/loss": 1.5},
    {"round": 4, "seconds/round": 9.0, "train/loss": 0.5},
]


def shown(capsys, rows):
    bar = progress.Progress(4, "accuracy")
    for row in rows:
        bar(row)
    bar.close()
    return capsys.readouterr().err.splitlines()


def test_without_a_terminal_there_is_a_line_for_each_evaluation_and_it_counts_lost_rounds(capsys):
    assert shown(capsys, ROWS) == [
        "round 1: loss 2.0000, test/accuracy 0.2500",
        "round 3: loss 1.0000, test/accuracy 0.5000, aborted 1",
    ]


def test_the_table_is_of_the_last_evaluation_and_of_median_seconds():
    assert progress.summary(ROWS, "accuracy") == [
        ("test/accuracy", "0.5000"),
        ("test/loss", "1.5000"),
        ("seconds per round", "2.500 (median)"),
        ("aborted rounds", "1"),
    ]


def test_a_secure_sum_and_an_audit_have_lines_of_their_own():
    secure = {"secure_sum/upload_bytes_per_client": 1.5e6, "secure_sum/server_seconds": 0.25}
    audited = {"audit/epsilon": 1.23456, "audit/canaries": 40.0}
    table = dict(progress.summary([ROWS[0] | secure | audited], "accuracy"))
    assert table["secure sum"] == "1,500 kB a client up, 0.250 s server (medians)"
    assert table["epsilon, audited"] == "1.235 by 40 canaries"


def test_values_stand_below_each_other():
    assert progress.text([("a", "1"), ("long", "2")]) == "a     1\nlong  2"
