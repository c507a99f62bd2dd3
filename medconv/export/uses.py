"""How each exported file is used: the lines of the model card that a user copies."""

from __future__ import annotations

from medconv.export.onnx_file import OPSET
from medconv.export.program import Freedom
from medconv.planning import Plan


def use_of(target: str, plan: Plan, freedom: Freedom | None) -> str:
    """Markdown for one target.

    Args:
        target: ``"torch"``, ``"onnx"``, ``"bundle"`` or ``"safetensors"``.
        plan: Of the network.
        freedom: What a traced graph takes; only for ``"torch"`` and ``"onnx"``.
    """
    batch = "B" if freedom is None or freedom.is_batch_free else "1"
    size = plan.patch_size if freedom is None else freedom.size
    shape = f"({batch}, {plan.in_channels}, {', '.join(map(str, size))})"
    return {
        "torch": _TORCH.format(freedom=freedom, shape=shape),
        "onnx": _ONNX.format(freedom=freedom, shape=shape, opset=OPSET),
        "bundle": _BUNDLE,
        "safetensors": _SAFETENSORS,
    }[target]


_TORCH = """
`model.pt2`, a `torch.export` program ({freedom}). PyTorch promises to read it only with the version that wrote it and
its near neighbours. `plan.yaml` says how volumes are prepared; the same text is inside the file.

```python
import torch

network = torch.export.load("model.pt2").module()  # patches {shape}, prepared as above, to logits
```

It computes on the CPU; `torch.export.passes.move_to_device_pass(program, "cuda")` moves a loaded program to a GPU.
"""

_ONNX = """
`model.onnx`, opset {opset} ({freedom}), checked in ONNX Runtime on the CPU. `plan.yaml` says how volumes are prepared;
the same text is in the model's metadata under `medconv_plan`.

```python
import onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
(logits,) = session.run(["logits"], {{"image": patches}})  # float32 {shape}, prepared as above
```
"""

_BUNDLE = """
`bundle/`, a MONAI bundle that needs MONAI, nibabel, pytorch-ignite and fire, and not medconv:

```bash
python -m monai.bundle run --config_file bundle/configs/inference.json --meta_file bundle/configs/metadata.json \\
    --bundle_root bundle --dataset_dir SCANS --output_dir MASKS
```

With several channels the files of a case are `CASE_0000.nii.gz`, `CASE_0001.nii.gz` …. In MONAI Label, put the folder
into the `model` folder of its `monaibundle` app. The network is TorchScript (`models/model.ts`): PyTorch has deprecated
it, but MONAI Label loads nothing else without the network's source. It takes tiles of one size, as `inference.json`
gives them. Where a scan has another spacing than the plan, MONAI resamples it a little differently than
`medconv predict` (no averaging on a coarser grid), so that borders of structures can differ by a voxel.
"""

_SAFETENSORS = """
`model.safetensors` (weights) and `model.json` (network, plan, labels); neither can hold code.

```python
from medconv.export import load_exported

predictor = load_exported(".")  # the folder of the two files
predictor.predict("scan.nii.gz").save("mask.nii.gz")
```
"""
