"""What the user says, checked strictly, in one place for the command line and for Python."""

from dalda.config.augment import AugmentConfig as AugmentConfig
from dalda.config.captions import CaptionConfig as CaptionConfig
from dalda.config.data import DataConfig as DataConfig
from dalda.config.data import Strict as Strict
from dalda.config.train import TrainConfig as TrainConfig
