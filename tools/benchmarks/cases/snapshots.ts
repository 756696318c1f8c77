import { type Case, clock } from '../case.ts'

const commit = 'commit of a snapshot of 10,000 changed files'
const compare = 'Compare of 10,000 changed files'

export const snapshots: Case = {
  name: 'snapshots',
  storage: 'tmpfs',
  figures: [
    { name: commit, unit: 'ms', target: 0.8 },
    { name: compare, unit: 'ms', target: 0.8 },
  ],
  async measure(side, { scale }) {
    const files = scale(10_000, 100)
    const target = `${side.root}.mounted`
    const filled = (key: string, parent: string) => `mkdir -p ${target}
      $CTR snapshots prepare ${key} ${parent}
      $CTR snapshots mounts ${target} ${key} >${target}.sh
      bash ${target}.sh
      for d in $(seq 0 ${files / 100 - 1}); do
        mkdir -p ${target}/d$d
        (cd ${target}/d$d && for f in {0..99}; do echo "${key} $d $f$f$f$f$f$f$f$f$f$f" >f$f; done)
      done
      umount ${target}`
    await side.shell(`${filled('first', '')}\n$CTR snapshots commit base first\n${filled('second', 'base')}`)
    const committed = await clock(side, () => side.ctr('snapshots', 'commit', 'changed', 'second'))
    const compared = await clock(side, () => side.shell('$CTR snapshots diff changed >/dev/null'))
    return { [commit]: committed, [compare]: compared }
  },
}
