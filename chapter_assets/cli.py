"""The command `chapter-assets`."""

import json
import math
import os
import shutil
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from chapter_assets.errors import ChapterAssetsError, InputError
from chapter_assets.settings import Settings
from chapter_assets.store import Store

app = typer.Typer(
    help="Chapters for every video, from a small language model that keeps learning.\n\n"
    "The graph itself runs in Dagster: `make ui`, `dagster asset materialize -m chapter_assets.definitions …`, "
    "or `chapter-assets run` for all of it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _instance() -> Any:
    """The Dagster instance that the dagster command would use in this folder."""
    import dagster as dg

    if os.environ.get("DAGSTER_HOME"):
        return dg.DagsterInstance.get()
    if Path("dagster.yaml").exists():
        return dg.DagsterInstance.from_config(str(Path.cwd()))
    raise InputError(
        f"No Dagster instance: DAGSTER_HOME is not set, and there is no dagster.yaml in {Path.cwd()}",
        "Run this in the project's folder, or set DAGSTER_HOME to it",
    )


def _quiet_models() -> None:
    """Keep the libraries' own chatter out of the way of what the user asked for."""
    warnings.filterwarnings("ignore")
    for name in ("TRANSFORMERS_VERBOSITY", "DATASETS_VERBOSITY"):
        os.environ.setdefault(name, "error")
    for name in ("HF_DATASETS_DISABLE_PROGRESS_BARS", "HF_HUB_DISABLE_PROGRESS_BARS"):
        os.environ.setdefault(name, "1")


@app.command()
def register(
    shards: Annotated[
        list[str] | None,
        typer.Argument(help="Shards to register; none: every one in data/corpus, and the batches in data/feedback"),
    ] = None,
    finetune: Annotated[str | None, typer.Option(help="Register a finetune key too, e.g. ft-0002")] = None,
) -> None:
    """Register corpus shards (folders with chapters.json and asrs.json) and sealed feedback batches as partitions.

    Dagster's own command line cannot add partition keys. Registering twice changes nothing.
    """
    from chapter_assets.lifecycle.discovery import on_disk
    from chapter_assets.store import check_partition_key
    from chapter_assets.transcripts.corpus import find_shard

    settings = Settings()
    batches: list[str] = []
    if not shards and not finetune:
        found, unusable = on_disk(settings)  # one that is half copied keeps no other from being registered
        for problem in unusable:
            typer.echo(f"Not registered: {problem}. Rename or mend it", err=True)
        shards, batches = ([f.key for f in found if f.kind == kind] for kind in ("corpus_shard", "feedback_batch"))
        if not found:
            raise InputError(
                f"There is no shard in {settings.corpus_dir} and no feedback batch in {settings.feedback_dir}",
                "Put chapters.json and asrs.json into a folder there, or run `chapter-assets fetch SUBSET`",
            )
    for shard in shards or ():
        find_shard(settings.corpus_dir, shard)
    with _instance() as instance:
        for kind, keys in (("corpus_shard", list(shards or ())), ("feedback_batch", batches)):
            known = set(instance.get_dynamic_partitions(kind))
            instance.add_dynamic_partitions(kind, keys)
            for key in keys:
                typer.echo(f"{kind} {key}: {'known already' if key in known else 'registered'}")
        if finetune:
            instance.add_dynamic_partitions("finetune", [check_partition_key(finetune)])
            typer.echo(f"finetune {finetune}: registered")


@app.command()
def fetch(subset: Annotated[str, typer.Argument(help="Subset of the hub dataset, e.g. sml1k_train")]) -> None:
    """Fetch a shard of VidChapters-7M from the hub into data/corpus, and register it. HF_ENDPOINT is honoured."""
    from chapter_assets.transcripts.corpus import fetch_shard

    settings = Settings()
    files = fetch_shard(settings.hub_dataset, subset, settings.corpus_dir)
    typer.echo(f"{files.chapters}\n{files.asrs}")
    register([subset])


@app.command()
def status() -> None:
    """What is registered, what is made, what is stuck; frees what a killed run left behind."""
    from chapter_assets.defs.retraining import limits_of, settle_finetunes
    from chapter_assets.defs.runs import release_dead_runs

    settings = Settings()
    store = Store(settings.store_dir)
    with _instance() as instance:
        for run_id in release_dead_runs(instance):
            typer.echo(f"ended run {run_id[:8]}, whose process was killed, and freed its pool slots")
        for kind, assets in {
            "corpus_shard": ("raw_vidchapters", "videos", "transcripts", "chapters", "training_windows"),
            "feedback_batch": ("feedback", "feedback_windows"),
            "finetune": ("training_set", "lora_adapter", "chapter_predictions", "eval_report", "promotion"),
        }.items():
            keys = instance.get_dynamic_partitions(kind)
            typer.echo(f"{kind}: {len(keys)} registered")
            for key in sorted(keys):
                missing = [asset for asset in assets if not store.exists(asset, key)]
                typer.echo(f"  {key}: {'complete' if not missing else 'missing ' + ', '.join(missing)}")
        for failed in settle_finetunes(instance, store, limits_of(settings)):  # last: a damaged state ends it here
            typer.echo(f"{failed.key} has failed: {failed.reason}")


@app.command()
def finetunes() -> None:
    """Every finetune that began: its state, since when, on how much feedback, and why it is there."""
    from chapter_assets.defs.retraining import limits_of, settle_finetunes
    from chapter_assets.lifecycle.finetunes import read_all

    settings = Settings()
    store = Store(settings.store_dir)
    with _instance() as instance:
        settle_finetunes(instance, store, limits_of(settings))
    found = read_all(store)
    if not found:
        typer.echo("No finetune has begun yet")
    for finetune in found:
        since = finetune.history[-1].at
        typer.echo(
            f"{finetune.key}  {finetune.state:<14} since {since:%Y-%m-%d %H:%M} UTC, attempt {finetune.attempt}, "
            f"{len(finetune.evidence.batches)} feedback batches{', started by hand' * finetune.by_hand}"
            + (f": {' '.join(finetune.reason.split())}" if finetune.reason else "")
        )


@app.command()
def retry(
    finetune: Annotated[str, typer.Argument(help="A failed or abandoned finetune, e.g. ft-0007")],
    why: Annotated[str, typer.Option(help="What was mended; kept in the finetune's history")],
) -> None:
    """Give a finetune that failed its attempts anew; the sensor `retrain` starts the next one."""
    from datetime import UTC, datetime

    from chapter_assets.lifecycle.finetunes import give_attempts

    given = give_attempts(Store(Settings().store_dir), finetune, why, datetime.now(UTC))
    typer.echo(f"{given.key} has failed {given.attempt} time{'s' * (given.attempt > 1)} and will be tried again")


@app.command()
def explain(
    what: Annotated[
        str | None, typer.Argument(help="A finetune (ft-0007), or the id of a prediction that users said something of")
    ] = None,
    video: Annotated[str | None, typer.Option(help="A video's id instead")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON")] = False,
) -> None:
    """Where something came from: from the decision back to report, adapter, training set, files and users' verdicts.

    With --video: in which shards it is, what users said of it, which finetunes learned from it or were judged by it.
    """
    from chapter_assets.lifecycle.explain import as_text, explain_finetune, explain_prediction, explain_video

    store = Store(Settings().store_dir)
    if (what is None) == (video is None):
        raise InputError("Say what to explain", "Give a finetune or a prediction, or --video ID")
    if video is not None:
        chain = explain_video(store, video)
    elif str(what).startswith("ft-") or what in store.partitions("training_set"):
        chain = explain_finetune(store, str(what))
    else:
        chain = explain_prediction(store, str(what))
    typer.echo(json.dumps(chain, indent=1, ensure_ascii=False) if as_json else "\n".join(as_text(chain)))


@app.command()
def run(
    corpus: Annotated[
        Path | None, typer.Option(help="Folder with chapters.json and asrs.json; becomes a shard of its own")
    ] = None,
    shard: Annotated[str, typer.Option(help="Shard to use when no --corpus is given")] = "sample",
    finetune: Annotated[str | None, typer.Option(help="Key of the finetune; by default the shard's own")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="A knob of the recipe, e.g. --set epochs=1 (see the launchpad)")
    ] = None,
    zero_shot: Annotated[bool, typer.Option(help="Also ask the base model as it comes")] = True,
) -> None:
    """Run the whole graph on one shard: tables, windows, finetune, report. What is up to date is not done again."""
    from chapter_assets.defs.run import link_corpus, run_graph
    from chapter_assets.evaluation.table import text_table

    _quiet_models()
    settings = Settings()
    recipe = _recipe(set_ or [])
    if corpus is not None:
        shard = link_corpus(corpus, settings.corpus_dir)
    register([shard])
    with _instance() as instance:
        key, report = run_graph(instance, shard, finetune, recipe, zero_shot)
    store = Store(settings.store_dir)
    folder = store.read("eval_report", key).folder
    typer.echo(f"\n{text_table(report)}\n\n{report['verdict']}\n")
    typer.echo(f"The gate: {store.details('promotion', key)['decision']['reason']}\n")
    typer.echo(f"Report:   {folder / 'report.html'}")
    typer.echo("Open UI:  make ui   (then http://127.0.0.1:3000)")


def _recipe(pairs: list[str]) -> Any:
    from chapter_assets.training.recipe import Recipe

    values = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign or name not in Recipe.model_fields:
            raise InputError(
                f"--set {pair!r} is no knob of the recipe", f"Use NAME=VALUE with {', '.join(Recipe.model_fields)}"
            )
        values[name] = value
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(
            f"--set {first['loc'][0]}={first['input']}: {first['msg']}", "Give a value in range"
        ) from error


@app.command()
def evaluate(
    gold: Annotated[Path, typer.Option(help="VidChapters chapters JSON with the true lists")],
    pred: Annotated[Path, typer.Option(help="The same shape with the predicted lists")],
    as_json: Annotated[bool, typer.Option("--json", help="Print all figures as JSON")] = False,
) -> None:
    """Score predicted chapters against gold: F1, tIoU, SODA_c, CIDEr, boundary distances.

    `*_all` figures count a video without a prediction as 0; the others leave it out, as the published tables do.
    """
    from chapter_assets.chapters.metrics import evaluate as score
    from chapter_assets.chapters.vidchapters_json import read_predictions, read_videos

    refused: list[str] = []
    true, predicted = read_videos(gold, refused), read_predictions(pred)
    for problem in refused[:5]:
        typer.echo(f"Left out: {problem}", err=True)
    if not true.keys() & predicted.keys():
        raise InputError(f"No video of {gold} is in {pred}", "Give two files about the same videos, by the same ids")
    figures = {"gold_refused": len(refused), **score(true, predicted)}
    if as_json:
        plain = {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in figures.items()}
        typer.echo(json.dumps(plain, indent=1, allow_nan=False))
        return
    for name, value in figures.items():
        typer.echo(f"{name:<28} {value:.2f}" if isinstance(value, float) else f"{name:<28} {value}")


@app.command()
def predict(
    chapters: Annotated[Path, typer.Option(help="VidChapters chapters JSON: only title and duration are read")],
    asrs: Annotated[Path, typer.Option(help="VidChapters ASR JSON")],
    out: Annotated[Path, typer.Option(help="Where the predicted lists go, in the chapters JSON shape")],
    adapter: Annotated[Path | None, typer.Option(help="Folder of an adapter")] = None,
    baseline: Annotated[
        str | None, typer.Option(help="one_chapter, three_equal, equal_spacing:SECONDS, control or base_zero_shot")
    ] = None,
    finetune: Annotated[str | None, typer.Option(help="Key of a finetune, e.g. ft-0001")] = None,
    count: Annotated[
        int | None, typer.Option(help="So many chapters per video; fewer only where there are not enough segments")
    ] = None,
    min_length: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", help="No chapter is shorter, e.g. 60; where --count does not fit, it gives way"
        ),
    ] = 0.0,
    granularity: Annotated[
        float,
        typer.Option(
            metavar="X",
            help="How finely to cut: the odds of every start times X. 3 gives more chapters, 0.3 fewer; "
            "with --count it changes nothing",
        ),
    ] = 1.0,
) -> None:
    """Predict chapters for every video with a transcript; without a flag, by the champion, else by the newest finetune.

    Nothing of a video is read but its transcript, duration and title. The model finds as many chapters as it deems
    right; --count, --min-length and --granularity say otherwise, and only finetunes, adapters and the baseline
    control can honour them.
    """
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TimeElapsedColumn

    from chapter_assets.evaluation.predict import predict_files
    from chapter_assets.inference.decoder import Wishes
    from chapter_assets.lifecycle.champion import serving_adapter

    wishes = Wishes(count, min_length, granularity)
    if sum(x is not None for x in (adapter, baseline, finetune)) > 1:
        raise InputError("--adapter, --baseline and --finetune exclude each other", "Give one of them, or none")
    settings = Settings()
    store = Store(settings.store_dir)

    def chosen() -> Path:
        if adapter is not None:
            return adapter
        return (store.read("lora_adapter", finetune) if finetune else serving_adapter(store)).folder

    _quiet_models()
    console = Console(stderr=True)
    columns = (SpinnerColumn(), "{task.description}", MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("videos", total=None)
        counts = predict_files(
            settings,
            chapters,
            asrs,
            out,
            chosen,
            baseline,
            wishes,
            lambda n: progress.update(task, completed=n),
        )
    typer.echo(f"{out}: " + ", ".join(f"{number} {what}" for what, number in counts.items()), err=True)


champion_app = typer.Typer(help="Which finetune serves and why; changing it by hand.", no_args_is_help=True)
app.add_typer(champion_app, name="champion")

Why = Annotated[str, typer.Option(help="The reason, for the history")]


def _say(champion: Any) -> None:
    typer.echo(f"{champion.finetune} serves since {champion.since}, by {champion.by}: {champion.why}")
    for name in ("adapter", "training_set", "report"):
        typer.echo(f"  {name:<13} {getattr(champion, name)[:16]}")
    typer.echo(f"  anchor        {champion.anchor.finetune}")


@champion_app.command()
def show() -> None:
    """The champion, where it comes from, and why it serves."""
    from chapter_assets.lifecycle import champion

    serving = champion.read(Store(Settings().store_dir))
    if serving is None:
        typer.echo("There is no champion yet: the first finetune to beat the text-free control becomes it")
    else:
        _say(serving)


@champion_app.command()
def history() -> None:
    """Every change, oldest first."""
    from chapter_assets.lifecycle import champion

    for change in champion.history(Store(Settings().store_dir)):
        after = change.champion
        which = after.anchor.finetune if change.what == "anchor set" else after.finetune
        typer.echo(f"{change.at}  {change.what:<11}  {which}  by {change.by}: {change.why}")


@champion_app.command()
def promote(finetune: Annotated[str, typer.Argument(help="Its key, e.g. ft-0007")], why: Why) -> None:
    """Let a finetune serve, whatever the gate says."""
    from chapter_assets.lifecycle import champion

    _say(champion.promote(Store(Settings().store_dir), finetune, why))


@champion_app.command()
def rollback(why: Why) -> None:
    """Let the champion before this one serve again; twice goes back twice."""
    from chapter_assets.lifecycle import champion

    _say(champion.rollback(Store(Settings().store_dir), why))


@champion_app.command()
def anchor(finetune: Annotated[str, typer.Argument(help="Its key, e.g. ft-0001")], why: Why) -> None:
    """Choose the finetune that no champion may fall behind; at first it is the first champion."""
    from chapter_assets.lifecycle import champion

    _say(champion.set_anchor(Store(Settings().store_dir), finetune, why))


@champion_app.command()
def recover() -> None:
    """Restore a damaged champion.json from the history."""
    from chapter_assets.lifecycle import champion

    _say(champion.recover(Store(Settings().store_dir)))


def main() -> None:
    """Run the command; an error that a person can mend is printed without a traceback."""
    try:
        app()
    except ValidationError as error:  # of the settings
        wrong = error.errors()[0]
        name = f"CHAPTER_ASSETS_{'_'.join(map(str, wrong['loc'])).upper()}"
        typer.echo(f"Error: {name}={wrong['input']!r}: {wrong['msg']}\nCorrect it in the environment or .env", err=True)
        sys.exit(2)
    except ChapterAssetsError as error:
        width = shutil.get_terminal_size().columns
        typer.echo(f"{typer.style('Error', fg='red')}: {error.problem}\n{error.remedy}"[: 40 * width], err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
