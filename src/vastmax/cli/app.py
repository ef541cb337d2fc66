"""The application: its commands, and the reporting of errors."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import warnings
from typing import Annotated, Any

import typer

from vastmax.cli import align, compare, compress, corpus, demo, lm, model, train
from vastmax.cli.console import complain
from vastmax.cli.help import Verb, Verbs
from vastmax.errors import VastmaxError

__all__ = ["app", "run"]

BAD_INPUT, INTERRUPTED = 1, 130

app = typer.Typer(
    name="vastmax",
    cls=Verbs,
    help="Train word embeddings and large-vocabulary models without the cost of the full softmax.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
app.command(cls=Verb)(demo.demo)
app.command(cls=Verb)(train.train)
app.command(cls=Verb)(model.nearest)
app.command(cls=Verb)(model.analogy)
app.command(cls=Verb)(model.evaluate)
app.command(cls=Verb)(align.align)
app.command(cls=Verb)(compress.compress)
app.command(cls=Verb)(model.export)
app.command("import", cls=Verb)(model.import_)
app.command(cls=Verb)(corpus.vocab)
app.command(cls=Verb)(corpus.phrases)
app.command(cls=Verb)(corpus.tree)
app.add_typer(lm.app, name="lm")
app.command(cls=Verb)(compare.compare)


def _print_version(wanted: bool) -> None:
    if wanted:
        from vastmax import __version__

        print(f"vastmax {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


class _Terminal(io.FileIO):
    """A terminal that may be closed while the program still writes a checkpoint; later output is discarded."""

    def write(self, data: Any, /) -> int | None:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return len(data)


def _open_closed_streams() -> None:
    """Open the null device for closed standard streams (``>&-``), or files opened later would become the streams."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free descriptor: this one
            if descriptor:
                setattr(sys, name, open(descriptor, "w", encoding="utf-8", closefd=False))  # noqa: SIM115


def run(arguments: list[str] | None = None) -> int:
    """Run one command line and return its exit code; every user error is reported in one sentence on stderr."""
    arguments = sys.argv[1:] if arguments is None else arguments
    _open_closed_streams()
    for each in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(each) != signal.SIG_IGN:  # nohup ignores SIGHUP
            signal.signal(each, signal.default_int_handler)
    warnings.showwarning = lambda message, *_, **__: _tell(message, f"note: {message}")
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
            if stream.isatty():
                lasting = io.BufferedWriter(_Terminal(stream.fileno(), "w", closefd=False))
                setattr(sys, name, io.TextIOWrapper(lasting, stream.encoding, "backslashreplace", line_buffering=True))
    try:
        # typer returns the code of `typer.Exit`, or the command's return value, None.
        said: dict[str, object] = {"arguments": arguments}
        code = typer.main.get_command(app).main(arguments, prog_name="vastmax", standalone_mode=False, obj=said)
        sys.stdout.flush()
        if code == INTERRUPTED and "interrupted" not in said:
            _tell(KeyboardInterrupt(), "interrupted")
        return code if isinstance(code, int) else 0
    except VastmaxError as error:
        _tell(error, str(error))
        return BAD_INPUT
    except ImportError as error:
        if type(error) is not ImportError or error.name is not None:  # not one of vastmax's, which say what to install
            raise
        _tell(error, str(error))
        return BAD_INPUT
    except MemoryError as error:
        complain(f"out of memory ({error}): give a smaller --dim or a higher --min-count.")
        return BAD_INPUT
    except (BrokenPipeError, SystemExit):
        # The reader of our output has closed the pipe, as `head` does (typer turns that, and here only that, into
        # SystemExit); Python must not report it again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        complain(f"{error.filename or 'input or output'} failed ({error.strerror or error}): check it and try again.")
        return BAD_INPUT
    except (KeyboardInterrupt, typer.Abort) as error:
        _tell(error, "interrupted")
        return INTERRUPTED
    except Exception as error:
        refused: Any = error  # from typer's own copy of click, or from click
        if not hasattr(refused, "format_message"):
            raise
        if type(error).__name__ == "NoArgsIsHelpError":
            print(refused.format_message())
            return 0
        context = getattr(refused, "ctx", None)
        seen = f": see {context.command_path} --help." if context else "."
        sentence = refused.format_message().rstrip(".")
        _tell(error, sentence[:1].lower() + sentence[1:] + seen)
        return refused.exit_code


def _tell(error: BaseException | str, sentence: str) -> None:
    """Print an error, unless another process of the group reports it."""
    from vastmax.runs import tells

    if tells(error):
        complain(sentence)
