"""run.json says what a run was."""

import sys

from tff_experiments import about


def test_it_names_command_commit_packages_and_data(ten_clients):
    said = about.run(["scripts/run.py", "--name=a b"], ten_clients)
    assert said["command"] == "python scripts/run.py '--name=a b'"
    assert said["data"] == "digits, 10 clients (iid), 1,438 train / 359 test examples"
    assert said["python"].startswith(f"{sys.version_info[0]}.{sys.version_info[1]}.")
    assert set(said["packages"]) == set(about.PACKAGES) and said["commit"]
