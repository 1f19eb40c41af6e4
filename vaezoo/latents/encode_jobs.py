"""Encode shards in jobs: processes of this machine, or tasks of Ray."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from vaezoo.errors import TrainingError
from vaezoo.io.files import make_folder
from vaezoo.jobs.job import Job, failure_of
from vaezoo.jobs.job_engine import Engine
from vaezoo.latents.encode_plan import is_done
from vaezoo.latents.shard_encoder import EncodeMeter, OnBatch, Shards, WorkOptions

MODULE = "vaezoo.latents.shard_job"
LOGS = "logs"
MOST_SHARDS = 16  # of a job, so that a job which is lost or killed does not cost much
CLUSTER = 64  # jobs at the same time that a cluster is assumed to have room for
JOBS_PER_SLOT = 4  # at least, so that all processes end at about the same time


def run_shard_jobs(
    folder: Path,
    shards: Shards,
    work: WorkOptions,
    engine: Engine,
    device: str | None,
    on_batch: OnBatch,
    meter: EncodeMeter,
) -> None:
    """Encode shards in jobs.

    Args:
        folder: Folder of the latents, with its plan.
        shards: Photos of the shards to encode, by name.
        work: How each job encodes.
        engine: Where jobs run, and how many at the same time.
        device: Device of each job; `None` means a GPU if there is one, otherwise the CPU.
        on_batch: Called after each job with its number of photos.
        meter: Counts these photos.

    Raises:
        TrainingError: If a job failed; the text has its last message.
        InputError: If the Ray cluster cannot be used.
        KeyboardInterrupt: If Ctrl-C or SIGTERM stopped the jobs.
    """
    sizes: dict[str, int] = {}
    failed: list[str] = []

    def jobs() -> Iterator[Job]:
        at_once = engine.jobs or (1 if engine.kind == "local" else CLUSTER)
        for number, names in enumerate(chunks(list(shards), at_once)):
            if failed:
                return
            job = _job(folder, names, number, work, device, engine.kind == "local")
            sizes[job.name] = sum(len(shards[name]) for name in names)
            yield job

    def on_exit(job: Job, status: int, seconds: float) -> None:
        if status:
            failed.append(f"{job.name}: {failure_of(job, status)}")
            return
        meter.photos += sizes[job.name]
        on_batch(sizes[job.name], meter)
        job.output.unlink(missing_ok=True)

    stopped = engine.run(jobs(), on_exit)
    if stopped:
        raise KeyboardInterrupt(stopped)
    missing = [name for name, photos in shards.items() if not is_done(folder, name, photos)]
    if failed or missing:
        reason = failed[0] if failed else f"shard {missing[0]} is missing although its job ended well"
        raise TrainingError(f"{len(missing)} of {len(shards)} shards are missing; {reason}; the same command continues")


def chunks(names: Sequence[str], jobs: int) -> Iterator[Sequence[str]]:
    """Divide shards among jobs: several shards for each, because a job must load the model first, but not too many."""
    size = max(1, min(MOST_SHARDS, len(names) // (JOBS_PER_SLOT * jobs)))
    return (names[start : start + size] for start in range(0, len(names), size))


def _job(
    folder: Path, names: Sequence[str], number: int, work: WorkOptions, device: str | None, one_machine: bool
) -> Job:
    settings = {"--batch": work.batch, "--workers": work.workers, "--bad": work.bad, "--device": device}
    words = [word for name, value in settings.items() if value is not None for word in (name, str(value))]
    lock = [] if one_machine else ["--no-lock"]  # a file system of several machines may not have locks
    name = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
    output = make_folder(folder / LOGS) / f"job-{number:05d}.txt"
    return Job(name, MODULE, [str(folder.absolute()), *names, *words, *lock], output, gpu=device in (None, "cuda"))
