"""The resources that assets ask for."""

import dagster as dg
from pydantic import PrivateAttr

from chapter_assets.defs.runs import mark_run, release_dead_runs
from chapter_assets.settings import Settings
from chapter_assets.store import Store


class StoreResource(dg.ConfigurableResource):
    """The artifact store and the deployment's settings (CHAPTER_ASSETS_* in the environment).

    A run that begins here first ends the runs of this machine whose process is gone, and frees their pool slots: a
    run that was killed would otherwise block the next one for ever.
    """

    _settings: Settings = PrivateAttr(default_factory=Settings)

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        if context.instance is not None and context.run_id is not None:
            release_dead_runs(context.instance, but=context.run_id)
            mark_run(context.instance, context.run_id)

    @property
    def settings(self) -> Settings:
        return self._settings

    @property
    def store(self) -> Store:
        return Store(self._settings.store_dir)
