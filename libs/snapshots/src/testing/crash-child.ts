// Prepares, commits and removes snapshots until it is killed: node crash-child.ts DRIVER ROOT REDIS PREFIX, where DRIVER
// may be devmapper:POOL. Says on standard output what it is about to do (`? WHAT`) and what was acknowledged (`! WHAT`),
// each line before the next step.
import { writeFileSync, writeSync } from 'node:fs'
import { withTempMount } from '@flotilla/linux'
import { makeCall } from '@flotilla/rpc'
import { devmapper } from '@flotilla/snapshotter-devmapper'
import { native } from '@flotilla/snapshotter-native'
import { overlayfs } from '@flotilla/snapshotter-overlayfs'
import { devmapperOptions } from './devmapper.ts'
import { openSnapshots } from './fixture.ts'

const [driver = '', root = '', redis = '', prefix = ''] = process.argv.slice(2)
const [name, pool = ''] = driver.split(':')
const kind = name === 'devmapper' ? devmapper(devmapperOptions(pool)) : name === 'native' ? native() : overlayfs()
const { service, snapshotter } = await openSnapshots(kind, { root, redis })
const call = makeCall({ namespace: 'crash' })
const say = (line: string) => writeSync(1, `${line}\n`)

/** The directory that a snapshot writes to, found without mounting it. */
function writable(mount: { source: string; options: string[] } | undefined): string {
  const upper = mount?.options.find((option) => option.startsWith('upperdir='))
  return upper?.slice('upperdir='.length) ?? mount?.source ?? ''
}

async function prepare(key: string, parent: string): Promise<void> {
  const { mounts } = await service.prepare({ snapshotter, key, parent, labels: {} }, call)
  say(`! prepared ${key}`)
  const write = async (directory: string) => writeFileSync(`${directory}/${key}`, key)
  if (pool === '') await write(writable(mounts[0]))
  else await withTempMount(mounts, { tmpDir: root }, write)
}

async function commit(name: string, key: string): Promise<void> {
  say(`? committed ${key} ${name}`)
  await service.commit({ snapshotter, name, key, labels: {}, parent: '' }, call)
  say(`! committed ${key} ${name}`)
}

async function remove(key: string): Promise<void> {
  say(`? removed ${key}`)
  await service.remove({ snapshotter, key }, call)
  say(`! removed ${key}`)
}

async function work(worker: string): Promise<never> {
  for (let count = 0; ; count++) {
    const id = `${worker}-${count}`
    await prepare(`key-${id}`, 'base')
    if (count % 4 === 3) {
      await remove(`key-${id}`)
      continue
    }
    await commit(`name-${id}`, `key-${id}`)
    if (count % 2 === 0) await remove(`name-${id}`)
  }
}

await Promise.all([1, 2, 3, 4].map((worker) => work(`${prefix}-${worker}`)))
