"""Files and folders of the product: every read, write, list and lock goes through here."""

from dalda.storage.failures import StorageError as StorageError
from dalda.storage.failures import explained as explained
from dalda.storage.files import append_lines as append_lines
from dalda.storage.files import exists as exists
from dalda.storage.files import list_folder as list_folder
from dalda.storage.files import make_folder as make_folder
from dalda.storage.files import open_binary as open_binary
from dalda.storage.files import remove as remove
from dalda.storage.files import remove_empty as remove_empty
from dalda.storage.files import unfinished as unfinished
from dalda.storage.files import write as write
from dalda.storage.files import write_new as write_new
from dalda.storage.folders import link_or_copy as link_or_copy
from dalda.storage.folders import move as move
from dalda.storage.folders import open_append as open_append
from dalda.storage.folders import open_new as open_new
from dalda.storage.folders import private_folder as private_folder
from dalda.storage.folders import whole_folder as whole_folder
from dalda.storage.lock import lock as lock
from dalda.storage.readers import parse_json as parse_json
from dalda.storage.readers import read_bytes as read_bytes
from dalda.storage.readers import read_csv as read_csv
from dalda.storage.readers import read_json as read_json
from dalda.storage.readers import read_text as read_text
from dalda.storage.yaml import read_yaml as read_yaml
from dalda.storage.yaml import to_yaml as to_yaml
