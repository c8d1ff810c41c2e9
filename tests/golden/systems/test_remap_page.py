"""fluxshard_remap's page: the means of its ablation, and what its words say of them.

    python -m tests.golden.systems.test_remap_page

writes the means into the page.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from analysis.pages import golden_results

PAGE = Path(__file__).resolve().parents[3] / "sim" / "systems" / "fluxshard_remap" / "README.md"
BEGIN, END = "<!-- means -->", "<!-- end of means -->"
WHOLE = "nothing"
CHANGED = r"(system\.\S+=\S+|in_flight=1)"


def results() -> pd.DataFrame:
    """The sweep, with what each run has changed and which replicate it is."""
    found = golden_results("remap_ablation")
    found["changed"] = found["overrides"].str.extract(CHANGED)[0].fillna(WHOLE)
    found["sequence"] = found["overrides"].str.extract(r"sequence=(\S+)")[0]
    found["replicate"] = found["overrides"].str.extract(r"replicate=(\d+)")[0].astype(int)
    return found


def means() -> pd.DataFrame:
    """Over all runs with the same change."""
    found = results()
    found["kb"] = found["uplink_bytes"] / found["frames_completed"] / 1e3
    found["unasked_kb"] = found["uplink_opportunistic_bytes"] / found["frames_completed"] / 1e3
    keys = ["ea_per_captured", "frames_completed", "accuracy_mean", "latency_mean_s", "kb", "unasked_kb"]
    return found.groupby("changed", sort=False)[keys].mean()


def means_table() -> str:
    """As the page shows it."""
    lines = [
        "| changed | EA/captured | frames | accuracy | latency ms | kB a frame | unasked kB a frame |",
        "|---|---|---|---|---|---|---|",
    ]
    for changed, row in means().iterrows():
        named = changed if changed == WHOLE else f"`{changed}`"
        lines.append(
            f"| {named} | {row['ea_per_captured']:.3f} | "
            f"{row['frames_completed']:.1f} | {row['accuracy_mean']:.3f} | "
            f"{1e3 * row['latency_mean_s']:.1f} | {row['kb']:.1f} | {row['unasked_kb']:.1f} |"
        )
    return "\n".join(lines)


def against_whole(changed: str, runs: pd.Series) -> float:  # type: ignore[type-arg]
    """Mean difference of EA/captured over those runs, pair by pair."""
    table = results().pivot_table(
        index=["sequence", "replicate"], columns="changed", values="ea_per_captured", sort=False
    )
    return float((table[changed] - table[WHOLE])[runs].mean())


def test_the_page_shows_the_means() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text.split(BEGIN)[1].split(END)[0].strip() == means_table()


def test_its_words_follow_from_the_table() -> None:
    found = means()
    whole, filtered = found.loc[WHOLE], found.loc["system.salience_rule=filter"]
    assert (round(whole["accuracy_mean"], 2), round(filtered["accuracy_mean"], 2)) == (0.78, 0.49)
    assert [round(1e3 * row["latency_mean_s"]) for row in (whole, filtered)] == [87, 49]
    assert filtered["kb"] < 0.25 * whole["kb"]
    assert whole["accuracy_mean"] - found.loc["system.salience=False", "accuracy_mean"] == pytest.approx(
        0.02, abs=0.005
    )
    margin, fallback = found.loc["system.margin_px=0"], found.loc["system.dense_fallback=False"]
    for key in ("ea_per_captured", "accuracy_mean"):
        assert whole[key] - margin[key] == pytest.approx(0.02, abs=0.005), key
        assert whole[key] - fallback[key] == pytest.approx(0.01, abs=0.005), key
    assert abs(whole["latency_mean_s"] - margin["latency_mean_s"]) < 0.001
    assert fallback["latency_mean_s"] - whole["latency_mean_s"] == pytest.approx(0.005, abs=0.001)
    assert whole["ea_per_captured"] / found.loc["in_flight=1", "ea_per_captured"] > 1.9
    runs = results()[lambda table: table["changed"] == WHOLE].set_index(["sequence", "replicate"]).index
    ignorant = pd.Series([r == 3 and sequence != "dance-twirl" for sequence, r in runs], index=runs)
    assert ignorant.sum() == 3
    assert against_whole("system.opportunistic=False", ignorant) == pytest.approx(-0.22, abs=0.005)
    assert against_whole("system.opportunistic=False", ~ignorant) == pytest.approx(-0.02, abs=0.005)
    first = pd.Series([r < 2 for _, r in runs], index=runs)
    assert against_whole("system.proxy=perfect", first) == pytest.approx(0.01, abs=0.005)


if __name__ == "__main__":
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{means_table()}\n{END}{rest.split(END)[1]}", encoding="utf-8")
