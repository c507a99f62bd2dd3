"""What to do when a batch does not fit: a machine's words for it, turned into a setting to change."""

from __future__ import annotations

from medconv.datamodules import SegmentationDataModule

_CPU_WORDS = ("can't allocate memory", "DefaultCPUAllocator: not enough memory")
_GPU_CLASS = "OutOfMemoryError"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of PyTorch says that memory ran out, on a GPU or a CPU."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == _GPU_CLASS
        or any(words in str(error) for words in _CPU_WORDS)
    )


def explain_out_of_memory(error: BaseException, data: SegmentationDataModule) -> str:
    """The batch that did not fit, and what to set."""
    patch = getattr(getattr(data, "plan", None), "patch_size", ())
    size = f"{data.batch_size} patches of {' × '.join(map(str, patch))} voxels"
    if data.batch_size > 1:
        remedy = f"--data.init_args.batch_size {data.batch_size // 2}"
    else:
        remedy = "a smaller --data.init_args.patch_size"
    first = str(error).partition("\n")[0]
    return (
        f"memory does not hold a batch of {size}: set {remedy}; --trainer.precision bf16-mixed and fewer "
        f"--model.network.init_args.channels help too. Nothing was saved by this step ({first})"
    )
