"""The package as a wheel, beside its dependencies: it works from any folder and is never written to."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import yaml

from tests.package.installed import PARTS, Installed


def test_it_runs_from_an_empty_folder_and_leaves_the_package_alone(
    installed: Installed, tmp_path: Path
) -> None:
    before = installed.files()
    done = installed.run(tmp_path, "sim", "frames=5", "hydra.run.dir=run")
    assert (done.returncode, done.stderr) == (0, "")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["status"] == "completed"
    assert summary["git_sha"] is None
    assert summary["version"] in installed.run(tmp_path, "--version").stdout.split()
    assert installed.files() == before
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert list((installed.home / ".cache" / "fluxshard").rglob("*.nbi"))


def test_a_folder_with_modules_of_the_same_names_does_no_harm(installed: Installed, tmp_path: Path) -> None:
    for name in ("traces", "sim", "kernels", "hydra"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a stranger')\n")
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "__init__.py").write_text("raise SystemExit('a stranger')\n")
    (tmp_path / "conf" / "config.yaml").write_text("frames: none of your business\n")
    jobs = ("sim", "-m", "video=statistical", "frames=3", "seed=0,1", "hydra/launcher=joblib")
    done = installed.run(tmp_path, *jobs, "hydra.launcher.n_jobs=2", "hydra.sweep.dir=sweep")
    assert (done.returncode, done.stderr) == (0, "")
    assert (pd.read_csv(tmp_path / "sweep" / "results.csv")["status"] == "completed").all()


def test_profiles_go_to_the_users_folder_and_are_found_there(installed: Installed, tmp_path: Path) -> None:
    before = installed.files()
    done = installed.run(tmp_path, "profiler", "refit", "epyc_zen5_1thread/default")
    assert (done.returncode, done.stderr) == (0, "")
    (written,) = installed.home.rglob("default.yaml")
    assert written.parts[-4:] == ("fluxshard", "profile", "epyc_zen5_1thread", "default.yaml")
    assert installed.files() == before
    content = yaml.safe_load(written.read_text())
    content["device"] = "mybox"
    own = written.parent.with_name("mybox") / "default.yaml"
    own.parent.mkdir()
    own.write_text(yaml.safe_dump(content))
    planned = installed.run(tmp_path, "profiler", "plan", "edge=mybox/default", "cloud=mybox/default")
    assert planned.returncode == 0, planned.stderr
    assert list(tmp_path.iterdir()) == []


def test_everything_that_names_refer_to_is_there(installed: Installed) -> None:
    source = installed.folder / "source"
    names = (path.relative_to(source) for part in PARTS for path in (source / part).rglob("*.*"))
    left_out = (".md", ".png")  # pages and pictures are for readers of the repository
    missing = [name for name in names if name.suffix not in left_out and not (installed.site / name).exists()]
    assert missing == []
