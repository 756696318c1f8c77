import { rm } from 'node:fs/promises'
import { type Bench, type Case, clock, type Reading } from '../case.ts'
import type { ImageName } from '../images.ts'
import type { Side } from '../sides.ts'

const images: ReadonlyArray<readonly [ImageName, string]> = [
  ['one-layer', 'one layer of 768 MB'],
  ['20-layers', '20 layers'],
  ['200-layers', '200 layers'],
  ['one-layer-zstd', 'one layer of 768 MB, zstd'],
]

/** By the daemon, as `ctr images pull` asks for since containerd 2; and by the client, as all others do. */
const ways = { transfer: [], client: ['--local'] } as const

type Way = keyof typeof ways

/** A pull of each image in both ways, each on a root without any. */
export const pulls: readonly Case[] = images.flatMap(([image, words]) =>
  (['client', 'transfer'] as const).map((way): Case => {
    const figure = `pull and unpack, ${words} (${way})`
    const again = `second pull of an image that is there (${way})`
    return {
      name: `pull-${image}-${way}`,
      storage: 'tmpfs',
      figures: [
        { name: figure, unit: 'ms', target: 0.5 },
        ...(image === '20-layers' ? [{ name: again, unit: 'ms', target: 1 } as const] : []),
      ],
      prepare: (bench) => bench.images.pushed(image).then(() => {}),
      async measure(side, bench) {
        if (way === 'transfer' && !(await hasTransfer(side))) return {}
        await pullAndForget(side, bench, image, way)
        const first = await pull(side, bench, image, way)
        if (image !== '20-layers') return { [figure]: first }
        const times = bench.scale(10, 1)
        await pull(side, bench, image, way, times)
        return { [figure]: first, [again]: await pull(side, bench, image, way, times) }
      },
    }
  }),
)

/** The same pull before those that count, and nothing left of it: daemons are used for long. */
async function pullAndForget(side: Side, bench: Bench, image: ImageName, way: Way): Promise<void> {
  await pull(side, bench, image, way)
  await side.ctr('images', 'rm', '--sync', await bench.images.pushed(image))
  for (const kind of ['content', 'snapshots']) {
    const left = (await side.ctr(kind, 'ls')).trim().split('\n').length - 1
    if (left > 0) throw new Error(`${left} ${kind} are left of a pull`)
  }
}

async function pull(side: Side, bench: Bench, image: ImageName, way: Way, times = 1): Promise<Reading> {
  const reference = await bench.images.pushed(image)
  const pulls = async () => {
    for (let time = 0; time < times; time++) await side.ctr('images', 'pull', ...ways[way], '--plain-http', reference)
  }
  return clock(side, pulls, times)
}

async function hasTransfer(side: Side): Promise<boolean> {
  return (await side.ctr('plugins', 'ls')).includes('io.containerd.transfer.v1')
}

const unpacked = 'unpack alone, one layer of 768 MB'
export const unpack: Case = {
  name: 'unpack',
  storage: 'tmpfs',
  figures: [{ name: unpacked, unit: 'ms', target: 0.6 }],
  prepare: (bench) => bench.images.pushed('one-layer').then(() => {}),
  async measure(side, bench) {
    // What is left for the pull is to ask the registry what the tag names.
    await side.ctr('content', 'fetch', '--plain-http', await bench.images.pushed('one-layer'))
    return { [unpacked]: await pull(side, bench, 'one-layer', 'client') }
  },
}

const imported = (way: Way) => `import of an OCI archive (${way})`
const exported = (way: Way) => `export as an OCI archive (${way})`

/** An import and an export in both ways, each on an empty root. */
export const archives: readonly Case[] = (['client', 'transfer'] as const).map((way) => ({
  name: `archive-${way}`,
  storage: 'tmpfs',
  figures: [
    { name: imported(way), unit: 'ms', target: 0.6 },
    { name: exported(way), unit: 'ms', target: 0.6 },
  ],
  prepare: (bench) => bench.images.archive('one-layer').then(() => {}),
  async measure(side, bench) {
    if (way === 'transfer' && !(await hasTransfer(side))) return {}
    const file = await bench.images.archive('one-layer')
    const [name, out] = ['bench.local/one-layer:1', `${side.root}.tar`]
    const came = await clock(side, () => side.ctr('images', 'import', ...ways[way], '--no-unpack', file))
    const went = await clock(side, () => side.ctr('images', 'export', ...ways[way], out, name))
    await rm(out)
    return { [imported(way)]: came, [exported(way)]: went }
  },
}))
