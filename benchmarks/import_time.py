"""What `import tsai_relcon.all` costs beside fastai's own learner import, in fresh processes, interleaved.

    python benchmarks/import_time.py --record results
"""
import argparse, platform, statistics, subprocess, sys, time
from datetime import date
from pathlib import Path

modules = ['fastai.learner', 'tsai_relcon.all']

def seconds(module):
    start = time.perf_counter()
    subprocess.run([sys.executable, '-W', 'ignore', '-c', f'import {module}'], check=True)
    return time.perf_counter()-start

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--repeats', type=int, default=7)
    p.add_argument('--record', type=Path, help='folder for import_time.md')
    args = p.parse_args()
    for m in modules: seconds(m)                                            # byte code and disk cache
    times = {m: [] for m in modules}
    for _ in range(args.repeats):
        for m in modules: times[m].append(seconds(m))
    ours, theirs = (statistics.median(times[m]) for m in reversed(modules))
    lines = ['# Import time', '', f"{date.today()}; `python benchmarks/import_time.py --repeats {args.repeats} --record results`; {platform.system()}, Python {platform.python_version()}; "
             'fresh processes, interleaved, seconds.', '', '| module | median | lowest | highest |', '|---|---|---|---|',
             *[f'| `{m}` | {statistics.median(t):.2f} | {min(t):.2f} | {max(t):.2f} |' for m,t in times.items()], '',
             f'Difference of the medians: {ours-theirs:+.2f} s.']
    print('\n'.join(lines))
    if args.record: (args.record/'import_time.md').write_text('\n'.join(lines)+'\n')

if __name__=='__main__': main()
