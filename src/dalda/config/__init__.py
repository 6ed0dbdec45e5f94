"""The user's configuration, checked strictly, in one place for the command line and for Python."""

from dalda.config.augment import AugmentConfig as AugmentConfig
from dalda.config.captions import CaptionConfig as CaptionConfig
from dalda.config.commands import CalibrateConfig as CalibrateConfig
from dalda.config.commands import ConvertConfig as ConvertConfig
from dalda.config.commands import DemoConfig as DemoConfig
from dalda.config.commands import DoctorConfig as DoctorConfig
from dalda.config.commands import DownloadConfig as DownloadConfig
from dalda.config.commands import InspectConfig as InspectConfig
from dalda.config.commands import ModelsConfig as ModelsConfig
from dalda.config.commands import PlotConfig as PlotConfig
from dalda.config.commands import ReviewConfig as ReviewConfig
from dalda.config.commands import RunConfig as RunConfig
from dalda.config.commands import ScoreConfig as ScoreConfig
from dalda.config.commands import SplitConfig as SplitConfig
from dalda.config.compare import CompareConfig as CompareConfig
from dalda.config.data import DataConfig as DataConfig
from dalda.config.data import Strict as Strict
from dalda.config.import_original import ImportConfig as ImportConfig
from dalda.config.outputs import ExportConfig as ExportConfig
from dalda.config.outputs import MergeConfig as MergeConfig
from dalda.config.outputs import ReportConfig as ReportConfig
from dalda.config.train import ClassifierConfig as ClassifierConfig
from dalda.config.train import EvaluateConfig as EvaluateConfig
from dalda.config.train import PredictConfig as PredictConfig
from dalda.config.train import TrainConfig as TrainConfig
from dalda.config.train import UsageConfig as UsageConfig
