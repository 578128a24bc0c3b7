"""The resources that assets ask for."""

from contextlib import suppress

import dagster as dg
from pydantic import PrivateAttr

from chapter_assets.defs.retraining import limits_of, settle_finetunes
from chapter_assets.defs.runs import mark_run, release_dead_runs
from chapter_assets.errors import StoreError
from chapter_assets.settings import Settings
from chapter_assets.store import Store


class StoreResource(dg.ConfigurableResource):
    """The artifact store and the deployment's settings (CHAPTER_ASSETS_* in the environment).

    A run that begins here first ends the runs of this machine whose process is gone, and frees their pool slots: a
    run that was killed would otherwise block the next one for ever. What that means for a finetune is written down.
    """

    _settings: Settings = PrivateAttr(default_factory=Settings)

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        if context.instance is not None and context.run_id is not None:
            release_dead_runs(context.instance, but=context.run_id)
            mark_run(context.instance, context.run_id)
            with suppress(StoreError):  # a damaged state is named by the sensor, and concerns no other run
                settle_finetunes(context.instance, self.store, limits_of(self._settings))

    @property
    def settings(self) -> Settings:
        return self._settings

    @property
    def store(self) -> Store:
        return Store(self._settings.store_dir)
