import { chmod, writeFile } from 'node:fs/promises'
import { type Case, clock } from '../case.ts'
import type { Side } from '../sides.ts'

const oneAtATime = 'ctr run --rm IMAGE true, one at a time'
const atOnce = 'ctr run --rm IMAGE true, 50 at once'
const withCrun = 'ctr run --rm IMAGE true, one at a time, with crun'

/** A container's whole life, as a person at a shell sees it. */
export const run: Case = {
  name: 'run',
  storage: 'tmpfs',
  figures: [
    { name: oneAtATime, unit: 'ms', target: 1 },
    { name: atOnce, unit: 'ms', target: 1 },
    { name: withCrun, unit: 'ms', target: 1 },
  ],
  async prepare({ images }) {
    await images.pushed('busybox')
  },
  async measure(side, { images, scale }) {
    const image = await images.pushed('busybox')
    await side.ctr('images', 'pull', '--local', '--plain-http', image)
    // What a daemon compiles while it is new is not what a run costs.
    await runs(side, image, scale(40, 2), 'warm')
    const [one, many] = [scale(20, 2), scale(50, 2)]
    const crun = await crunAt(`${side.root}.crun`)
    await runs(side, `--runc-binary ${crun} ${image}`, 2, 'warm-crun')
    return {
      [oneAtATime]: await clock(side, () => runs(side, image, one, 'one'), one),
      [atOnce]: await clock(side, () =>
        side.shell(`for i in $(seq ${many}); do $CTR run --rm ${image} many-$i true & jobs+=" $!"; done
          for job in $jobs; do wait $job; done`),
      ),
      [withCrun]: await clock(side, () => runs(side, `--runc-binary ${crun} ${image}`, one, 'crun'), one),
    }
  },
}

const runs = (side: Side, image: string, times: number, name: string) =>
  side.shell(`for i in $(seq ${times}); do $CTR run --rm ${image} ${name}-$i true; done`)

/**
 * A program that runs Debian's crun, which knows neither specifications after 1.0 nor the hybrid hierarchy of control
 * groups. Both sides pay for it.
 */
async function crunAt(path: string): Promise<string> {
  const script = `#!/bin/sh
before=
for word; do
  [ "$before" = --bundle ] && sed -i 's/"ociVersion": *"[^"]*"/"ociVersion":"1.0.2"/' "$word/config.json"
  before=$word
done
exec unshare --mount sh -c 'umount /sys/fs/cgroup/unified 2>/dev/null; exec crun "$@"' crun "$@"
`
  await writeFile(path, script)
  await chmod(path, 0o755)
  return path
}
