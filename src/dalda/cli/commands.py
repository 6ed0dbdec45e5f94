"""The table of commands: names, one sentence each, and where the code is. Imports nothing heavy."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class CommandSpec:
    """A command: a configuration model, the function that runs it, and the next step."""

    group: str
    help: str
    config: str
    """The class in `dalda.config` whose fields are the options."""
    run: str
    """`module:function` that takes the configuration and returns a result."""
    next_step: str = ""
    """The next command, with `{fields}` of the configuration; a field of None drops the rest."""
    dry_run: str = ""
    """`module:function` in place of `run` with --dry-run."""
    arguments: Mapping[str, str] = field(default_factory=lambda: {"dataset": "DATASET"})
    """The fields that are given by position, and how the usage line calls them."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Fields whose option has another name."""


ACTIONS = "dalda.cli.actions"
PANELS = {
    "argument": "Arguments",
    "content": "What is computed",
    "execution": "How it is computed",
    "location": "Files and folders",
    "shared": "Every command",
}
"""The sections of a command's help, by the role of a field. Results depend on the first two alone."""
GROUPS = ("Data", "Generate", "Train", "Inspect", "Share")
COMMANDS = {
    "download": CommandSpec(
        "Data",
        "Download, check and unpack a published data set. Existing files are never overwritten.",
        "DownloadConfig",
        f"{ACTIONS}:run_download",
        "dalda split {dataset} --root {root} --shots 4",
    ),
    "inspect": CommandSpec(
        "Data",
        "Look at a data set: classes, image sizes, broken images, duplicates, leakage, and its split.",
        "InspectConfig",
        "dalda.workflows.inspect_dataset:inspect_dataset",
        "dalda augment {dataset} --dry-run -o OUT",
    ),
    "split": CommandSpec(
        "Data",
        "Show the few-shot split of a seed and a number of shots.",
        "SplitConfig",
        f"{ACTIONS}:run_split",
        "dalda score {dataset}",
    ),
    "score": CommandSpec(
        "Data",
        "Compute the CLIP class probability of each real image, over the classes of the data set.",
        "ScoreConfig",
        f"{ACTIONS}:run_score",
        "dalda augment {dataset} --dry-run -o OUT",
    ),
    "captions": CommandSpec(
        "Generate",
        "Write captions for every class. Existing captions are kept, and no response is paid for twice.",
        "CaptionConfig",
        f"{ACTIONS}:run_captions",
        "dalda augment {dataset} --captions {out} -o OUT",
    ),
    "augment": CommandSpec(
        "Generate",
        "Generate synthetic images from each real image. Run it again to resume.",
        "AugmentConfig",
        "dalda.workflows.augment:augment",
        "dalda train {dataset} --synthetic {out}",
        dry_run="dalda.workflows.dry_run:dry_run",
    ),
    "merge": CommandSpec(
        "Generate",
        "Join sets that were generated apart, as with --shard. They are checked, and stay as they are.",
        "MergeConfig",
        "dalda.workflows.merge:merge",
        "dalda export {out} -o EXPORT",
        arguments={"places": "OUT"},
    ),
    "calibrate": CommandSpec(
        "Generate",
        "Measure how similar a model's images are to their source at each IP-Adapter scale.",
        "CalibrateConfig",
        "dalda.workflows.calibrate:calibrate",
        "dalda augment {dataset} --model {model} --scale-unit similarity -o OUT",
    ),
    "import": CommandSpec(
        "Generate",
        "Import images of the original DALDA code (aug-*.png) as a synthetic set.",
        "ImportConfig",
        "dalda.compat.import_folder:import_original",
        "dalda train {dataset} --synthetic {out}",
        arguments={"folder": "FOLDER", "dataset": "DATASET"},
    ),
    "demo": CommandSpec(
        "Train",
        "Run everything on the embedded world: do synthetic images help a few-shot classifier?",
        "DemoConfig",
        "dalda.demo:run_demo",
        "open {out}/report.html in a browser",
        arguments={},
    ),
    "train": CommandSpec(
        "Train",
        "Train a few-shot classifier on real images alone and with each synthetic set, and compare.",
        "TrainConfig",
        "dalda.workflows.train:train",
        "dalda report {out} -o report.html",
    ),
    "run": CommandSpec(
        "Train",
        "Run a study: arms x shots x seeds. Run it again, and only what is missing or changed is done.",
        "RunConfig",
        f"{ACTIONS}:run_study",
        "dalda plot {out} -o figure.png",
        dry_run=f"{ACTIONS}:dry_run_study",
        arguments={"study": "STUDY"},
    ),
    "compare": CommandSpec(
        "Train",
        "Compare augmentation methods on your images: which one helps, and does any?",
        "CompareConfig",
        "dalda.workflows.compare:compare_methods",
        "dalda report {out} -o report.html",
        dry_run="dalda.workflows.compare:dry_run_compare",
    ),
    "config convert": CommandSpec(
        "Train",
        "Convert a configuration file of the original DALDA code to a study in YAML.",
        "ConvertConfig",
        f"{ACTIONS}:run_convert",
        "dalda run {out} --dry-run",
        arguments={"study": "STUDY"},
    ),
    "predict": CommandSpec(
        "Inspect",
        "Predict the classes of images with a classifier that dalda train -o kept.",
        "PredictConfig",
        "dalda.workflows.classifier:predict",
        "dalda export {classifier} --to onnx -o classifier.onnx",
        arguments={"classifier": "RUN", "images": "IMAGE"},
    ),
    "evaluate": CommandSpec(
        "Inspect",
        "Measure fidelity, diversity and near-copies of a synthetic set, without training.",
        "EvaluateConfig",
        "dalda.workflows.evaluate:evaluate",
        "dalda train {dataset} --synthetic {synthetic}",
        arguments={"synthetic": "OUT"},
        renamed={"dataset": "against"},
    ),
    "review": CommandSpec(
        "Inspect",
        "Open a local page to keep or reject synthetic images with a key.",
        "ReviewConfig",
        f"{ACTIONS}:run_review",
        "dalda export {out} -o EXPORT",
        arguments={"out": "OUT"},
    ),
    "plot": CommandSpec(
        "Inspect",
        "Plot accuracy over shots, gains per class, and IP-Adapter scale over CLIP class probability.",
        "PlotConfig",
        f"{ACTIONS}:run_plot",
        "dalda report {runs} -o report.html",
        arguments={"runs": "RUN"},
    ),
    "doctor": CommandSpec(
        "Inspect",
        "Show devices, versions, models on disk, keys (never their values) and free space.",
        "DoctorConfig",
        f"{ACTIONS}:run_doctor",
        "dalda demo",
        arguments={},
    ),
    "models": CommandSpec(
        "Inspect",
        "List the models, what of them is on disk and fits this machine; get NAME downloads one.",
        "ModelsConfig",
        "dalda.workflows.models:list_models",
        "dalda augment DATASET --model MODEL --dry-run -o OUT",
        arguments={"words": "[get NAME]"},
    ),
    "report": CommandSpec(
        "Share",
        "Write one self-contained HTML page: the answer, the numbers, the images.",
        "ReportConfig",
        "dalda.workflows.report:report",
        "open {out} in a browser",
        arguments={"places": "RUN_OR_OUT"},
    ),
    "export": CommandSpec(
        "Share",
        "Export a synthetic set, or a classifier as ONNX. Files are linked, not copied, where possible.",
        "ExportConfig",
        f"{ACTIONS}:run_export",
        "use {out} in your own code",
        arguments={"source": "OUT"},
    ),
    "push": CommandSpec(
        "Share",
        "Upload a synthetic set to the Hugging Face Hub, with a data card; private without --public.",
        "PushConfig",
        "dalda.workflows.push:push",
        'use it anywhere: datasets.load_dataset("{name}")',
        arguments={"source": "OUT", "name": "USER/NAME"},
    ),
}
