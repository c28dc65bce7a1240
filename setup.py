"""What pyproject.toml cannot say: the page of a wheel is the README, its links absolute, and where the project lives.

The address is `repository-code` in CITATION.cff. While there is none, links to other files become plain words.
With SUPERFINE_PURE=1 nothing is compiled: the wheel lacks engine "native" and installs on every platform.
With SUPERFINE_CLANG_CL=1 Visual Studio's Clang compiles; other projects found it far faster in such loops.
"""

import os
import re
from pathlib import Path

HERE = Path(__file__).resolve().parent


def address(citation: str) -> str:
    """Return the repository's address out of a CITATION.cff; empty if it names none."""
    found = re.search(r"^repository-code:\s*[\"']?([^\s\"']+)", citation, re.MULTILINE)
    return found[1].rstrip("/") if found else ""


def page(readme: str, base: str) -> str:
    """Return the README with absolute links; without a base, pictures are left out and links become their words."""

    def link(match: re.Match[str]) -> str:
        picture, words, target = match.groups()
        if re.match(r"[a-z]+:|#", target):
            return match[0]
        if not base:
            return "" if picture else words
        return f"{picture}[{words}]({base}/{'raw' if picture else 'blob'}/main/{target})"

    return re.sub(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)", link, readme)


if __name__ == "__main__":
    from setuptools import Distribution, setup
    from setuptools.command.build_ext import build_ext

    class BuildKernels(build_ext):
        """The build of the compiled kernels; pyproject.toml has the options of GCC and Clang."""

        def build_extension(self, extension):
            """Compile and link."""
            if self.compiler.compiler_type == "msvc":
                self.prepare_visual_studio(extension)
            super().build_extension(extension)

        def prepare_visual_studio(self, extension):
            """Set Visual Studio's options, and compile what is for one instruction set with these instructions allowed.

            /MT: Python brings no msvcp140.dll, and another package's may be too old for this compiler's std::mutex.
            """
            if not self.compiler.initialized:
                self.compiler.initialize(self.plat_name)
            options = ["/nologo", "/O2", "/std:c++17", "/EHsc", "/fp:precise", "/MT", "/W3", "/wd4068"]
            if os.environ.get("SUPERFINE_CLANG_CL") == "1":
                self.compiler.cc = "clang-cl"
                options += ["/clang:-O3", "/clang:-ffp-contract=off"]
            self.compiler.compile_options = options
            extension.extra_compile_args = extension.extra_link_args = []
            if self.plat_name != "win-amd64":
                return
            for wide in ("AVX2", "AVX512"):
                own = [source for source in extension.sources if wide.lower() in source]
                extension.sources = [source for source in extension.sources if source not in own]
                extension.extra_objects += self.compiler.compile(own, self.build_temp, extra_postargs=[f"/arch:{wide}"])

    class Pure(Distribution):
        """A distribution without the compiled engine."""

        def parse_config_files(self, *arguments, **settings):
            """Read pyproject.toml, all but its extension modules."""
            super().parse_config_files(*arguments, **settings)
            self.ext_modules = []

    base = address((HERE / "CITATION.cff").read_text(encoding="utf-8"))
    setup(
        cmdclass={"build_ext": BuildKernels},
        distclass=Pure if os.environ.get("SUPERFINE_PURE") == "1" else Distribution,
        long_description=page((HERE / "README.md").read_text(encoding="utf-8"), base),
        long_description_content_type="text/markdown",
        project_urls={"Source": base, "Changelog": f"{base}/blob/main/CHANGELOG.md"} if base else {},
    )
