"""What the user says, checked strictly, in one place for the command line and for Python."""

from dalda.config.augment import AugmentConfig as AugmentConfig
from dalda.config.captions import CaptionConfig as CaptionConfig
from dalda.config.data import DataConfig as DataConfig
from dalda.config.data import Strict as Strict
from dalda.config.import_original import ImportConfig as ImportConfig
from dalda.config.outputs import ExportConfig as ExportConfig
from dalda.config.outputs import ReportConfig as ReportConfig
from dalda.config.train import ClassifierConfig as ClassifierConfig
from dalda.config.train import EvaluateConfig as EvaluateConfig
from dalda.config.train import TrainConfig as TrainConfig
from dalda.config.train import UsageConfig as UsageConfig
