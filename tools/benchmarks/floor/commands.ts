import { execFileSync } from 'node:child_process'
import { copyFileSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { tempWorld } from '@flotilla/testing'
import { type Effort, type Floor, floorOf } from './floor.ts'

/** What `ctr run` and `ctr task exec` take with no daemon and no shim between: the client's start, and runc. */
export async function* commandFloors(peer: string, effort: Effort): AsyncGenerator<Floor> {
  await using world = await tempWorld({ name: 'bench-floor', tmpfs: true })
  const run = (program: string, ...args: string[]) =>
    void execFileSync(program, args, { stdio: ['ignore', 'ignore', 'inherit'], timeout: 60_000 })
  const times = Math.ceil(20 * effort.share)
  const each = (work: (index: number) => void) => () => {
    for (let index = 0; index < times; index++) work(index)
  }
  yield await floorOf(
    'ctr --version',
    effort,
    each(() => run(join(peer, 'ctr'), '--version')),
    { times },
  )

  const bundles = { true: world.join('true'), sleep: world.join('sleep') }
  for (const [command, bundle] of Object.entries(bundles)) {
    await mkdir(join(bundle, 'rootfs/bin'), { recursive: true })
    copyFileSync('/bin/busybox', join(bundle, 'rootfs/bin/busybox'))
    for (const applet of Object.keys(bundles)) symlinkSync('busybox', join(bundle, 'rootfs/bin', applet))
    run('runc', 'spec', '--bundle', bundle)
    const file = join(bundle, 'config.json')
    const spec = JSON.parse(readFileSync(file, 'utf8'))
    spec.process.terminal = false
    spec.process.args = command === 'sleep' ? ['sleep', '100000'] : ['true']
    writeFileSync(file, JSON.stringify(spec))
  }
  const [root, name] = [world.join('runc'), `bench-floor-${process.pid}`]
  const runc = (...args: string[]) => run('runc', '--root', root, ...args)
  yield await floorOf(
    'runc run of true',
    effort,
    each((index) => runc('run', '-b', bundles.true, `${name}-${index}`)),
    {
      times,
    },
  )
  runc('run', '-d', '-b', bundles.sleep, name)
  try {
    yield await floorOf(
      'runc exec of true',
      effort,
      each(() => runc('exec', name, 'true')),
      { times },
    )
  } finally {
    runc('delete', '-f', name)
  }
}
