"""What a run says in a terminal: one short line for each thing that an asset reports."""

import logging
import sys

import dagster as dg


class _OneLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        meta = getattr(record, "dagster_meta", None) or {}
        message = meta.get("orig_message") or record.getMessage()
        where = meta.get("step_key") or ""
        return f"{self.formatTime(record, '%H:%M:%S')}  {where:<20} {message}"


@dg.logger(
    config_schema={"log_level": dg.Field(str, default_value="INFO", description="Least level to show")},
    description="Short lines on the error stream",
)
def console(context: dg.InitLoggerContext) -> logging.Logger:
    """One line per message: time, asset, text."""
    logger = logging.Logger("chapter_assets", level=context.logger_config["log_level"])
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine())
    logger.addHandler(handler)
    return logger
