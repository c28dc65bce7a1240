"""The typer application: commands found by name when they are called for, and help in our own layout."""

from __future__ import annotations

import importlib
import inspect
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from superfine.cli import COMMANDS, help
from superfine.cli.messages import Interrupted

if TYPE_CHECKING:
    from typer._click import Command as AnyCommand
    from typer._click import Context, HelpFormatter
    from typer._click.shell_completion import CompletionItem

SETTINGS = {"help_option_names": ["-h", "--help"]}
OPTIONS = "Options"
KINDS: dict[Any, str] = {int: "N", float: "N", str: "TEXT", Path: "PATH"}
"""Type of an option's value → how the help shows it, where the option does not say."""


class Command(TyperCommand):
    """A command whose help is laid out by `superfine.cli.help`."""

    def format_help(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write the help of the command, its options by their panels."""
        formatter.write(_command_help(self, ctx))


class Group(TyperGroup):
    """A command that has commands of its own, such as `superfine data`."""

    def format_help(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write the help of the group and a line for each of its commands."""
        names = self.list_commands(ctx)
        commands = [(name, self.get_command(ctx, name)) for name in names]
        rows = [(name, (each.help or "").partition("\n")[0]) for name, each in commands if each is not None]
        formatter.write(_command_help(self, ctx, [("Commands", rows)]))


class Program(TyperGroup):
    """`superfine` itself: knows all commands by name, and imports the one that is called."""

    def list_commands(self, ctx: Context) -> list[str]:
        """Return the names of all commands, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: Context, cmd_name: str) -> AnyCommand | None:
        """Import a command; None if there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        if cmd_name not in self.commands:
            self.commands[cmd_name] = _create_command(cmd_name)
        return self.commands[cmd_name]

    def resolve_command(self, ctx: Context, args: list[str]) -> tuple[str | None, AnyCommand | None, list[str]]:
        """Find the command; where there is none, suggest the nearest one. Raises UsageError."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], COMMANDS, n=1)
            ctx.fail(f"there is no command {args[0]!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Context) -> Any:
        """Run the command. A Ctrl-C becomes Interrupted, because typer would drop what it says."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise Interrupted(*error.args) from None

    def format_help(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write the help of the program."""
        formatter.write(help.program_help())

    def shell_complete(self, ctx: Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands and options that begin with `incomplete`, importing no command."""
        from typer._click.shell_completion import CompletionItem

        found = [CompletionItem(n, help=each.summary) for n, each in COMMANDS.items() if n.startswith(incomplete)]
        return [*found, *super(TyperGroup, self).shell_complete(ctx, incomplete)]


def create_app() -> typer.Typer:
    """Return the application, to be called with the arguments of the command line."""
    app = typer.Typer(name="superfine", cls=Program, context_settings=SETTINGS)
    app.callback()(_program)
    return app


def _program() -> None:
    pass


def _create_command(name: str) -> AnyCommand:
    module, _, function = (COMMANDS[name].target or f"superfine.cli.{name}:{name}").partition(":")
    found = getattr(importlib.import_module(module), function)
    if not isinstance(found, typer.Typer):
        app = typer.Typer(add_completion=False)
        app.command(name, cls=Command)(found)
        found = app
    command = typer.main.get_command(found)
    command.name = name
    for param in command.params:
        if _kind(param) in KINDS:
            setattr(param, "_runtime_param", _Converter())  # noqa: B010 (where typer keeps its own)
    return command


class _Converter:
    """Converts the text of an option or argument to an int, a float, a str or a Path.

    typer's own converters rest on pydantic, which takes 0.15 s to import: a quarter of the time of a small picture.
    """

    def coerce(self, value: Any, param: TyperOption | TyperArgument, ctx: Context) -> Any:
        """Return the value of the parameter. Raises BadParameter."""
        several = getattr(param, "multiple", False) or param.nargs == -1
        if value is None:
            return () if several else None
        if several:
            return [self._convert(each, param, ctx) for each in value]
        return self._convert(value, param, ctx)

    def _convert(self, value: Any, param: TyperOption | TyperArgument, ctx: Context) -> Any:
        kind = _kind(param)
        try:
            converted = kind(value)
        except ValueError:
            wanted = "a whole number" if kind is int else "a number"
            raise typer.BadParameter(f"{value!r} is not {wanted}", ctx=ctx, param=param) from None
        least, most = getattr(param, "min", None), getattr(param, "max", None)
        if (least is not None and converted < least) or (most is not None and converted > most):
            wanted = f"{least} or more" if most is None else f"{least} to {most}"
            raise typer.BadParameter(f"{value} is not {wanted}", ctx=ctx, param=param)
        return converted


def _kind(param: Any) -> Any:
    """Return the type of a parameter's values: of list[str], str."""
    annotation = param.type_descriptor.annotation
    return next(iter(get_args(annotation)), annotation)


def _command_help(
    command: TyperCommand | TyperGroup, ctx: Context, more: list[tuple[str, list[help.Row]]] | None = None
) -> str:
    """Return usage, the docstring, then arguments and options, each panel a section."""
    params = [param for param in command.get_params(ctx) if not getattr(param, "hidden", False)]
    arguments = [param for param in params if isinstance(param, TyperArgument)]
    panels: defaultdict[str, list[help.Row]] = defaultdict(list, {OPTIONS: []})
    for param in params:
        if isinstance(param, TyperOption):
            panels[param.rich_help_panel or OPTIONS].append((_spelling(param), _explanation(param, ctx)))
    names = [_name(param) for param in arguments]
    placeholder = ["COMMAND"] if more else []
    usage = " ".join(["Usage:", ctx.command_path, *names, *placeholder, "[OPTIONS]"])
    described = [(_name(param), _explanation(param, ctx)) for param in arguments if param.help]
    return help.page(
        [usage, *_paragraphs(command.help or "")], [*(more or []), ("Arguments", described), *panels.items()]
    )


def _paragraphs(text: str) -> list[str]:
    """Split a docstring; lists and indented lines become indented paragraphs, which keep their lines."""
    found = []
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        lines = paragraph.splitlines()
        if lines[0].startswith(("- ", "    ")):
            found.append("\n".join(help.INDENT + line.removeprefix("- ").removeprefix("    ") for line in lines))
        else:
            found.append(" ".join(lines))
    return found


def _name(param: TyperArgument) -> str:
    """Return an argument as the usage line shows it: IN, [FOLDER], FILE..."""
    name = param.metavar or (param.name or "").upper()
    name += "..." if param.nargs == -1 and not name.endswith("...") else ""
    return name if param.required else f"[{name}]"


def _spelling(param: TyperOption) -> str:
    """Return an option as one types it: `-s, --scale N`, `--bicubic/--no-bicubic`."""
    names = ", ".join(sorted(param.opts, key=len))
    if param.secondary_opts:
        names += "/" + param.secondary_opts[0]
    if param.is_flag:
        return names
    return f"{names} {param.metavar or KINDS.get(_kind(param), 'TEXT')}"


def _explanation(param: TyperOption | TyperArgument, ctx: Context) -> str:
    """Return the help of an option or argument with its default."""
    text = "Show this help." if param.name == "help" else " ".join((param.help or "").split())
    if isinstance(param, TyperOption) and param.required:
        return f"{text} [required]"
    if isinstance(param.show_default, str):
        return f"{text} [default: {param.show_default}]"
    default = param._extract_default_help_str(ctx=ctx)
    if not param.show_default or default in (None, False, True, "", []) or callable(default):
        return text
    return f"{text} [default: {default}]"
