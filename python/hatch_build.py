"""Puts the program into the wheel, and says in the wheel's name which machines it is for.

The program is built from the checkout that this directory is in, or is the one that SUPERVISOR_HAPROXY_BINARY names; then
SUPERVISOR_HAPROXY_NOTICES names the licences of what is in it.
"""

import json
import os
import struct
import subprocess

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NAME = "supervisor-haproxy"
VARIABLE = "SUPERVISOR_HAPROXY_BINARY"
NOTICES = "SUPERVISOR_HAPROXY_NOTICES"

# ELF's numbers (elf.h) and the names that wheels have for these machines.
MACHINES = {62: "x86_64", 183: "aarch64"}
PT_INTERP = 3

# A program without any library runs wherever there is a kernel for it: Rust wants Linux 3.2, and the oldest system that
# a tag can name with that is manylinux2014, of 3.10.
PORTABLE = ["manylinux_2_17", "manylinux2014", "musllinux_1_1"]


class Refused(Exception):
    """This cannot be built; says why, and what to do instead."""


class CustomBuildHook(BuildHookInterface):
    """Called by hatchling for each distribution."""

    def initialize(self, version, build_data):
        """Adds the program to `build_data`, and the wheel's tag."""
        try:
            refuse_what_is_not_made(self.target_name, version)
            checkout = os.path.dirname(self.root)
            binary = named_file(VARIABLE) or built_binary(checkout)
            build_data["tag"] = tag(binary)
            for path in licences(checkout):
                build_data["force_include"][path] = "supervisor_haproxy/" + os.path.basename(path)
        except Refused as refusal:
            self.app.abort("error: {}".format(refusal))
        build_data["pure_python"] = False
        build_data["force_include"][binary] = "supervisor_haproxy/bin/" + NAME


def refuse_what_is_not_made(target, version):
    """`target` and `version` are hatchling's words."""
    if target == "sdist":
        raise Refused(
            "there is no source distribution, for the source is not Python's: build a wheel in a checkout of the project, "
            "with `pip wheel --no-deps ./python` or `python -m build --wheel ./python`"
        )
    if version == "editable":
        raise Refused(
            "an editable install is not supported, for what would be edited is a program of Rust, which has to be built: "
            "use `pip install ./python`, or run `cargo build` and start target/debug/{}".format(NAME)
        )


def named_file(variable):
    """The file that a variable names, or None."""
    path = os.environ.get(variable)
    if path and not os.path.isfile(path):
        raise Refused("{} names `{}`, which is no file".format(variable, path))
    return path and os.path.abspath(path)


def licences(checkout):
    """Files that go with the program."""
    own = [os.path.join(checkout, name) for name in ("LICENSE-APACHE", "LICENSE-MIT")]
    others = named_file(NOTICES)
    return own + [others] if others else own


def built_binary(checkout):
    """Has cargo build the program, as a release; gives its path, which cargo alone knows."""
    command = ["cargo", "build", "--release", "--locked", "--bin", NAME, "--message-format=json-render-diagnostics"]
    try:
        output = subprocess.run(command, cwd=checkout, stdout=subprocess.PIPE, check=True).stdout
    except FileNotFoundError:
        raise Refused("cargo is missing; get Rust from https://rustup.rs, or set {}".format(VARIABLE)) from None
    except subprocess.CalledProcessError as error:
        raise Refused("`{}` in {}: failed (above): {}".format(" ".join(command), checkout, error)) from None
    messages = [json.loads(line) for line in output.splitlines()]
    return next(path for path in (message.get("executable") for message in reversed(messages)) if path)


def tag(binary):
    """The wheel's tag: any Python, no ABI of it, and the systems where the program runs."""
    machine, static = read_elf(binary)
    # What is linked with the C library of this system is for this system; pip asks no further for `linux`.
    systems = PORTABLE if static else ["linux"]
    return "py2.py3-none-" + ".".join("{}_{}".format(system, machine) for system in systems)


def read_elf(path):
    """The machine that a program is for, and whether it comes without an interpreter, which would load libraries."""
    with open(path, "rb") as file:
        head = file.read(64)
        if head[:6] != b"\x7fELF\x02\x01":
            raise Refused("{}: no 64 bit little endian ELF file".format(path))
        machine = struct.unpack_from("<H", head, 18)[0]
        if machine not in MACHINES:
            raise Refused("{}: ELF machine {}: there is no tag for it in hatch_build.py".format(path, machine))
        offset, size, count = struct.unpack_from("<Q", head, 32) + struct.unpack_from("<HH", head, 54)
        file.seek(offset)
        headers = file.read(size * count)
    types = [struct.unpack_from("<I", headers, index * size)[0] for index in range(count)]
    return MACHINES[machine], PT_INTERP not in types
