"Package metadata: settings.ini is its one source, `__version__` is nbdev's"
import re
from configparser import ConfigParser
from pathlib import Path
from setuptools import find_packages, setup

here = Path(__file__).parent
config = ConfigParser(delimiters=['='])
config.read(here/'settings.ini', encoding='utf-8')
cfg = config['DEFAULT']
lib = cfg['lib_path']
version = re.search(r'^__version__\s*=\s*[\'"]([^\'"]+)', (here/lib/'__init__.py').read_text(encoding='utf-8'), re.M).group(1)
status = {'3': '3 - Alpha', '4': '4 - Beta', '5': '5 - Production/Stable'}[cfg['status']]

def requirements(key): return [r for r in cfg[key].split('\n') if r.strip()]

setup(
    name=cfg['lib_name'], version=version, description=cfg['description'],
    author=cfg['author'], author_email=cfg['author_email'], license=cfg['license'], keywords=cfg['keywords'].split(),
    python_requires='>=' + cfg['min_python'],
    packages=find_packages(include=[lib, f'{lib}.*']), package_data={lib: ['bundled/*']}, zip_safe=False,
    install_requires=requirements('requirements'),
    extras_require={'sktime': requirements('sktime_requirements'), 'distributed': requirements('distributed_requirements'),
                    'onnx': requirements('onnx_requirements'), 'devices': requirements('devices_requirements'), 'dev': requirements('dev_requirements')},
    entry_points={'nbdev': [f'{lib}={lib}._modidx:d'],
                  'console_scripts': [f'{c}={lib}.cli:{c.replace("-","_")}' for c in cfg['console_scripts'].split()]},
    long_description=(here/'README.md').read_text(encoding='utf-8'), long_description_content_type='text/markdown',
    classifiers=[f'Development Status :: {status}', 'Programming Language :: Python :: 3',
                 'Intended Audience :: Science/Research', 'Topic :: Scientific/Engineering :: Artificial Intelligence'])
