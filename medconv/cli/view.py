"""`medconv view`: an image and its masks as one interactive page that opens offline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medconv.cli.image_layout import LAYOUT_EXAMPLES, add_layout_options, layout_of
from medconv.cli.parser import command_parser, parse
from medconv.cli.paths import require_file, require_output_folder
from medconv.errors import ConfigError

_DESCRIPTION = """\
Write one HTML page with an interactive viewer: three planes and a surface, masks by name. It opens offline.

  medconv view scan.nii.gz mask.nii.gz -o look.html
  medconv view ct.nii.gz reference.nii.gz prediction.nii.gz --label-names '{1: liver, 2: tumour}'
"""


def main(argv: Sequence[str]) -> int:
    """Write the page and say where it is. Returns the exit code."""
    parser = command_parser("view", _DESCRIPTION)
    add = parser.add_argument
    add("image", help="a volume, slice or microscopy image")
    add("masks", nargs="*", help="label maps on the grid of the image")
    add("-o", "--output", type=str, default=None, help="the page; default: IMAGE.html in this folder")
    add("--label-names", type=dict[int, str], default={}, help="names of labels; default: what files declare")
    add("--channel", type=int, default=0, help="which channel of the image, from 0")
    add_layout_options(parser, has_channel=False)
    add("--title", type=str, default=None, help="heading; default: the name of the image")
    add("--max-voxels", type=int, default=2**26, help="larger images need --downsample")
    add("--downsample", action="store_true", help="show a larger image coarser")
    add("--overwrite", action="store_true", help="replace a page that exists")
    options = parse(
        parser, argv[1:], {"label_names": "--label-names '{1: head, 2: tail}'", **LAYOUT_EXAMPLES}
    )
    for path, what in [(options.image, "volume"), *((mask, "mask") for mask in options.masks)]:
        if not Path(path).is_dir():  # a DICOM series is a folder
            require_file(path, what)
    output = _output(options.output, options.image, options.overwrite)
    from medconv.io import read_image  # half a second: NumPy, nibabel
    from medconv.reporting.viewer import view

    viewer = view(
        read_image([options.image], layout=layout_of(options, has_channel=False)),
        *options.masks,
        label_names=options.label_names,
        channel=options.channel,
        title=options.title,
        max_voxels=options.max_voxels,
        downsample=options.downsample,
    )
    viewer.save(output)
    for note in viewer.notes:
        print(note)
    print(f"{output}  {output.stat().st_size / 2**20:.1f} MiB; open it in a browser")
    return 0


def _output(given: str | None, image: str, may_overwrite: bool) -> Path:
    name = Path(image).name.split(".")[0] or "image"
    output = Path(given or f"{name}.html")
    if output.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"-o: expected a file ending in .html, got {output}")
    if output.is_dir():
        raise ConfigError(f"-o: expected a file, {output} is a folder; name a file in it")
    if output.exists() and not may_overwrite:
        raise ConfigError(f"{output} exists; name another with -o, or replace it with --overwrite")
    require_output_folder(output.parent)
    return output
