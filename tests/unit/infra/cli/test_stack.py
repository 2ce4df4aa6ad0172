"""The commands of the local stack, where no server is needed: records, logs, findings, exit statuses."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from infra.cli import stack as commands
from infra.cli.main import app
from infra.cli.progress import Progress
from infra.local import control, doctor
from infra.local.doctor import Verdict
from infra.local.record import ProcessRecord, StackRecord, State
from infra.local.state import Home, Secrets
from tests.eventually import eventually


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    found = Home(tmp_path / "home")
    monkeypatch.setenv("MILLRACE_HOME", str(found.root))
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "POSTGRES_DSN", "NEO4J_URI", "REDIS_URL", "QDRANT_URL", "OBJECT_STORE_URL"):
        monkeypatch.delenv(name, raising=False)
    return found


@pytest.fixture
def running(home: Home) -> Iterator[StackRecord]:
    """A record of one process that really runs, and of one that is gone; no supervisor."""
    home.create()
    Secrets.ensure(home)
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    program = Path(sys.executable).resolve().name
    started = psutil.Process(process.pid).create_time()
    record = StackRecord(state=State.READY, ports={"gateway": 8080, "kafka": 9092, "valkey": 6379})
    record.places["postgres"] = "/var/lib/millrace/x/postgres"
    for name, pid in (("valkey", process.pid), ("kafka", process.pid + 1_000_000)):
        record.processes[name] = ProcessRecord(name, State.READY, pid=pid, started=started, program=program, port=1)
    record.write(home.record)
    yield record
    process.kill()
    process.wait()


def millrace(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


@pytest.mark.usefixtures("home")
def test_status_without_a_stack_says_how_to_start_one() -> None:
    code, said = millrace("status")
    assert code == 3
    assert "millrace up" in said


@pytest.mark.usefixtures("running")
def test_status_tells_what_runs_from_what_is_gone() -> None:
    code, said = millrace("status", "--json")
    found = json.loads(said)
    lines = {line["name"]: line for line in found["processes"]}
    assert code == 3
    assert "`millrace up` takes over" in lines["supervisor"]["detail"]
    assert (lines["valkey"]["state"], lines["valkey"]["restarts"]) == ("ready", 0)
    assert 1e6 < lines["valkey"]["pss_bytes"] == found["pss_bytes"]
    assert (lines["kafka"]["state"], lines["kafka"]["pid"]) == ("failed", None)
    code, said = millrace("status")
    assert code == 3
    assert "its process is gone" in " ".join(said.split())
    assert "/var/lib/millrace/x/postgres" in said


def test_down_stops_what_a_killed_supervisor_left(home: Home, running: StackRecord) -> None:
    pid = running.processes["valkey"].pid
    code, said = millrace("down", "--json")
    assert (code, json.loads(said)["stopped"]) == (0, True)
    assert pid is not None
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    code, said = millrace("down")
    assert (code, said.strip()) == (0, "nothing was running")
    code, said = millrace("status")
    assert (code, said.strip()) == (3, "stopped")


def test_down_can_delete_everything(home: Home, tmp_path: Path) -> None:
    home.create()
    place = tmp_path / "outside" / "postgres"
    place.mkdir(parents=True)
    StackRecord(places={"postgres": str(place)}).write(home.record)
    assert millrace("down", "--wipe")[0] == 0
    assert not home.root.exists()
    assert not place.parent.exists()


@pytest.mark.usefixtures("home")
def test_an_unknown_unit_is_a_usage_error() -> None:
    code, said = millrace("up", "--only", "kafak")
    assert code == 2
    assert "there are kafka, postgres" in said


def refused_model(*arguments: str) -> str:
    code, said = millrace("up", "--only", "valkey", "--llm", *arguments)
    assert code in {1, 2}
    return " ".join(said.split())


def test_a_model_that_cannot_be_run_is_refused_before_anything_starts(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "give the path of a GGUF file, or smollm2" in refused_model(str(tmp_path / "missing.gguf"))
    monkeypatch.setenv("INFERENCE_URL", "http://gpu.example/v1")
    assert "INFERENCE_URL names a model server already" in refused_model("smollm2")
    monkeypatch.delenv("INFERENCE_URL")
    monkeypatch.setattr(commands, "find_spec", lambda name: None)
    assert "pip install 'xllamacpp==" in refused_model("smollm2")
    assert not home.record.exists()


def test_the_model_of_the_last_start_is_kept_until_another_or_none_is_named(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.create()
    monkeypatch.delenv("INFERENCE_URL", raising=False)
    assert commands._llm(home, None) == ""
    StackRecord(llm="smollm2").write(home.record)
    assert commands._llm(home, None) == "smollm2"
    assert commands._llm(home, "none") == ""


def test_doctor_looks_at_the_model(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.create()
    assert "none asked for" in doctor.llm(home).detail
    StackRecord(llm=str(tmp_path / "gone.gguf")).write(home.record)
    assert doctor.llm(home).verdict is Verdict.FAILED
    StackRecord(llm="smollm2").write(home.record)
    monkeypatch.setenv("MILLRACE_CACHE", str(tmp_path))
    assert doctor.llm(home).verdict is Verdict.WARNING
    monkeypatch.setattr(doctor, "version", lambda name: (_ for _ in ()).throw(doctor.PackageNotFoundError(name)))
    assert "pip install" in doctor.llm(home).remedy


def test_a_record_of_another_version_is_refused(home: Home) -> None:
    home.create()
    home.record.write_text('{"version": 99}')
    for words in (("status",), ("down",), ("up", "--only", "valkey")):
        code, said = millrace(*words)
        assert code == 1
        assert "another version" in said


def test_logs_show_the_end_of_one_or_of_all(home: Home) -> None:
    home.create()
    home.log("kafka").write_text("".join(f"line {number}\n" for number in range(100)))
    home.log("door").write_text("open\n")
    assert millrace("logs", "kafka", "-n", "2") == (0, "line 98\nline 99\n")
    code, said = millrace("logs", "-n", "1")
    assert (code, said.split()) == (0, ["door", "open", "kafka", "line", "99"])
    code, said = millrace("logs", "nonsense")
    assert code == 2
    assert "door, kafka" in said


async def test_logs_are_followed_also_past_a_rotation(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    home.create()
    log = home.log("kafka")
    log.write_text("old\n")
    said = ""

    def seen(word: str) -> bool:
        nonlocal said
        said += capsys.readouterr().out
        return word in said

    following = asyncio.create_task(commands._follow(home, ["kafka"], named=False))
    try:
        with log.open("a") as file:
            await asyncio.sleep(0)
            file.write("first\nhal")
            file.flush()
            await eventually(lambda: seen("first\n"))
            assert not seen("hal")
            file.write("f\n")
        await eventually(lambda: seen("half\n"))
        log.write_text("cut\n")
        await eventually(lambda: seen("cut\n"))
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    assert said == "first\nhalf\ncut\n"


@pytest.mark.usefixtures("home")
def test_doctor_looks_at_everything_and_says_so() -> None:
    code, said = millrace("doctor", "--json")
    found = json.loads(said)
    verdicts = {finding["need"]: finding["verdict"] for finding in found["findings"]}
    assert set(verdicts) >= {
        "python",
        "disk",
        "memory",
        "ports",
        "java",
        "packages",
        "downloads",
        "state folder",
        "stack",
    }
    assert found["ok"] is (code == 0)
    assert "python" in millrace("doctor")[1]


@pytest.mark.usefixtures("home")
def test_doctor_asks_outside_servers(monkeypatch: pytest.MonkeyPatch, unused_tcp_port_factory: object) -> None:
    dead = f"127.0.0.1:{unused_tcp_port_factory()}"  # type: ignore[operator]
    given = {
        "KAFKA_BOOTSTRAP_SERVERS": dead,
        "POSTGRES_DSN": f"postgresql://u:hidden@{dead}/d",
        "NEO4J_URI": f"bolt://{dead}",
        "REDIS_URL": f"redis://:hidden@{dead}/0",
        "QDRANT_URL": f"http://{dead}",
        "INFERENCE_URL": f"http://{dead}/v1",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    code, said = millrace("doctor", "--json")
    findings = {finding["need"]: finding for finding in json.loads(said)["findings"]}
    assert code == 1
    for name in given:
        assert findings[name]["verdict"] == "failed", name
        assert name in findings[name]["remedy"]
    assert "hidden" not in said


def test_doctor_sees_open_secrets(home: Home) -> None:
    home.create()
    Secrets.ensure(home)
    assert doctor.state_folder(home).verdict is Verdict.OK
    home.secrets.chmod(0o644)
    found = doctor.state_folder(home)
    assert found.verdict is Verdict.FAILED
    assert found.remedy == f"chmod 600 {home.secrets}"


def test_doctor_weighs_disk_and_memory(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "DISK_NEEDED", 1e18)
    monkeypatch.setattr(doctor, "DISK_WANTED", 1e18)
    monkeypatch.setattr(doctor, "MEMORY_WANTED", 1e18)
    assert doctor.disk(home).verdict is Verdict.FAILED
    assert "MILLRACE_HOME" in doctor.disk(home).remedy
    assert doctor.memory(home).verdict is Verdict.WARNING


def test_doctor_knows_what_is_not_downloaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MILLRACE_CACHE", str(tmp_path))
    monkeypatch.setenv("MILLRACE_JAR_REPOSITORY", "http://127.0.0.1:9/")
    found = doctor.downloads()
    assert found.verdict is Verdict.FAILED
    assert "MILLRACE_JAR_REPOSITORY" in found.remedy


def test_doctor_sees_a_stack_without_its_supervisor(home: Home, running: StackRecord) -> None:
    found = doctor.stack(home)
    assert found.verdict is Verdict.WARNING
    assert "valkey" in found.detail


@pytest.mark.usefixtures("home")
def test_doctor_misses_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise doctor.PackageNotFoundError(name)

    monkeypatch.setattr(doctor, "version", absent)
    found = doctor.packages()
    assert found.verdict is Verdict.FAILED
    assert "extra `local`" in found.remedy


async def test_waiting_ends_when_the_start_failed(home: Home) -> None:
    home.create()
    StackRecord(state=State.FAILED, detail="kafka: no Java").write(home.record)
    with pytest.raises(control.UpError, match="kafka: no Java"):
        await control.wait_ready(home, None, 5)


async def test_waiting_ends_when_a_process_keeps_ending(home: Home) -> None:
    home.create()
    home.log("kafka").write_text("out of luck\n")
    record = StackRecord(state=State.STARTING)
    record.processes["kafka"] = ProcessRecord("kafka", State.RESTARTING, restarts=3)
    record.write(home.record)
    with pytest.raises(control.UpError, match=r"kafka ended 3 times(?s:.*)out of luck"):
        await control.wait_ready(home, None, 5)


async def test_waiting_ends_with_what_is_still_open(home: Home) -> None:
    home.create()
    record = StackRecord(state=State.STARTING)
    record.processes["kafka"] = ProcessRecord("kafka", State.STARTING, "has not registered")
    record.processes["door"] = ProcessRecord("door", State.READY)
    record.write(home.record)
    with pytest.raises(control.UpError, match="kafka starting has not registered; it goes on"):
        await control.wait_ready(home, None, 0.2)


@pytest.fixture
def ended() -> "subprocess.Popen[bytes]":
    process = subprocess.Popen([sys.executable, "-c", "raise SystemExit(1)"])
    process.wait()
    return process


async def test_waiting_ends_when_the_supervisor_does(home: Home, ended: "subprocess.Popen[bytes]") -> None:
    home.create()
    home.log("supervisor").write_text("cannot do it\n")
    with pytest.raises(control.UpError, match="status 1: cannot do it"):
        await control.wait_ready(home, ended, 5)


def test_progress_elsewhere_than_on_a_terminal_says_each_change_once(capsys: pytest.CaptureFixture[str]) -> None:
    record = StackRecord()
    record.processes["kafka"] = ProcessRecord("kafka", State.PREPARING, "fetching 1 of 45 MB")
    with Progress() as progress:
        progress.show(record)
        record.processes["kafka"].detail = "fetching 2 of 45 MB"
        progress.show(record)
        record.processes["kafka"] = ProcessRecord("kafka", State.READY)
        progress.show(record)
        progress.show(record)
    said = capsys.readouterr().err
    assert [line.split()[2:] for line in said.splitlines()] == [
        ["kafka", "preparing", "fetching"],
        ["kafka", "ready"],
    ]


def test_progress_on_a_terminal_shows_what_is_waited_for() -> None:
    record = StackRecord()
    record.processes["kafka"] = ProcessRecord("kafka", State.STARTING, "[odd]", since=time.time() - 5)
    table = Progress()._table(record)
    cells = [list(column.cells) for column in table.columns]
    assert cells[1][0] == "kafka"
    assert cells[3][0] == r"\[odd]"
    assert cells[4][0] == "5 s"


def test_starting_the_command_line_loads_no_client() -> None:
    heavy = ("aiokafka", "neo4j", "qdrant_client", "asyncpg", "openvino")
    code = f"import sys, infra.cli.stack; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
