"""`pombo secret` and `pombo config`: how an installation is told what it must know."""

from pombo.ops.cli import output
from pombo.ops.cli.options import Json, examples

SECRET_EXAMPLES = examples(
    "pombo secret",
    "echo POMBO_SECRET_KEY=$(pombo secret) >> .env",
    "POMBO_SECRET_KEY=$(pombo secret),$OLD_SECRET pombo up",
)
CONFIG_EXAMPLES = examples("pombo config", "pombo config --json")


def secret() -> int:
    """Print a new secret, fit for POMBO_SECRET_KEY.

    Workers, the gateway and whoever adds sources need the same one; bots need none.
    """
    from pombo.shared.secrets import new_secret

    output.say(new_secret())
    return 0


def config(as_json: Json = False) -> int:
    """Show the settings in force and where they come from.

    Secrets and passwords are masked.
    """
    from pombo.ops.cli.configuration import read_configuration

    found = read_configuration()
    if as_json:
        output.write_json({"settings": {one.name: one.describe() for one in found}})
    else:
        output.show_table(
            ("setting", "value", "from"),
            [(one.name, str(one.value) if type(one.value) is int else one.value, one.origin) for one in found],
            keep=("setting",),
        )
    return 0
