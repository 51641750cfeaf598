"""The home folder: private, kept, and shared by one command at a time."""

from __future__ import annotations

import os
import random
import stat
import threading
from pathlib import Path

import pytest

from matinee.stack.errors import NotAHomeError
from matinee.stack.home import Home
from matinee.stack.processes import ProcessRecord

RNG = random.SystemRandom()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_home_is_private(tmp_path: Path) -> None:
    home = Home.open(tmp_path / "home", RNG)
    assert mode(home.path) == 0o700
    for name in ("credentials.json", "airflow.json", "console.json", "ports.json", "lock"):
        assert mode(home.path / name) == 0o600, name


def test_a_home_is_opened_as_it_was_left(tmp_path: Path) -> None:
    made = Home.open(tmp_path / "home", RNG)
    assert Home.open(tmp_path / "home", RNG) == made


def test_new_ports_are_chosen_when_theirs_are_removed(tmp_path: Path) -> None:
    made = Home.open(tmp_path / "home", RNG)
    made.ports_file.unlink()
    again = Home.open(tmp_path / "home", RNG)
    assert again.ports != made.ports
    assert again.credentials == made.credentials


def test_each_home_has_secrets_of_its_own(tmp_path: Path) -> None:
    one, other = (Home.open(tmp_path / name, RNG) for name in ("one", "other"))
    assert one.credentials != other.credentials
    assert one.airflow_password != other.airflow_password
    assert one.console_token != other.console_token
    for secret in (one.credentials.secret_access_key, one.airflow_password, one.console_token):
        assert secret not in repr(one)


def test_a_home_has_one_name(tmp_path: Path) -> None:
    made = Home.open(tmp_path / "home", RNG)
    (tmp_path / "link").symlink_to("home")
    assert Home.open(tmp_path / "link", RNG).path == made.path


def test_a_folder_of_something_else_is_refused_untouched(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    tmp_path.chmod(0o755)
    with pytest.raises(NotAHomeError, match=r"no matinee home and not empty \(.*'thesis.tex'"):
        Home.open(tmp_path, RNG)
    assert mode(tmp_path) == 0o755
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_data_sets_may_be_there_before_the_first_start(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    assert Home.open(tmp_path, RNG).path == tmp_path


def test_a_process_record_is_kept_until_it_is_cleared(tmp_path: Path) -> None:
    home = Home.open(tmp_path / "home", RNG)
    assert home.record("seaweedfs") is None
    home.write_record("seaweedfs", ProcessRecord(12, 3.25, 12))
    assert home.record("seaweedfs") == ProcessRecord(12, 3.25, 12)
    home.clear_record("seaweedfs")
    assert home.record("seaweedfs") is None


def test_a_second_command_waits_and_says_for_whom(tmp_path: Path) -> None:
    home = Home.open(tmp_path / "home", RNG)
    waits_for: list[str] = []
    waiting, done = threading.Event(), threading.Event()

    def told(pid: str) -> None:
        waits_for.append(pid)
        waiting.set()

    def second() -> None:
        with home.lock(told):
            done.set()

    with home.lock(waits_for.append):
        thread = threading.Thread(target=second)
        thread.start()
        assert waiting.wait(10)
        assert not done.is_set()
    thread.join(10)
    assert done.is_set()
    assert waits_for == [str(os.getpid())]


def test_the_log_of_the_start_before_is_kept(tmp_path: Path) -> None:
    home = Home.open(tmp_path / "home", RNG)
    home.put_log_aside("airflow")
    for text in ("first", "second"):
        home.log("airflow").write_text(text)
        home.put_log_aside("airflow")
    assert [path.name for path in home.log("airflow").parent.iterdir()] == ["airflow.log.1"]
    assert home.log("airflow").with_suffix(".log.1").read_text() == "second"
