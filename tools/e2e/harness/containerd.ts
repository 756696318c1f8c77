import { writeFile } from 'node:fs/promises'
import { delimiter } from 'node:path'
import { startServer, type TempWorld } from '@flotilla/testing'
import { runCtr } from './ctr.ts'
import type { System } from './system.ts'
import { debian12, programOf, type Version } from './versions.ts'

// Those that would look outside our directories, or need programs that are not here.
const disabled = [
  'io.containerd.grpc.v1.cri',
  'io.containerd.cri.v1.images',
  'io.containerd.cri.v1.runtime',
  'io.containerd.grpc.v1.sandbox-controllers',
  'io.containerd.internal.v1.opt',
  'io.containerd.internal.v1.tracing',
  'io.containerd.nri.v1.nri',
  'io.containerd.podsandbox.controller.v1.podsandbox',
  'io.containerd.snapshotter.v1.aufs',
  'io.containerd.snapshotter.v1.blockfile',
  'io.containerd.snapshotter.v1.btrfs',
  'io.containerd.snapshotter.v1.devmapper',
  'io.containerd.snapshotter.v1.zfs',
]

/** A configuration file for a containerd with these directories; it loads only what works everywhere. */
export function containerdConfig(root: string, state: string, address: string): string {
  return [
    'version = 2',
    `root = "${root}"`,
    `state = "${state}"`,
    `disabled_plugins = ${JSON.stringify(disabled)}`,
    `[grpc]\naddress = "${address}"`,
    `[ttrpc]\naddress = "${address}.ttrpc"`,
  ].join('\n')
}

/**
 * The reference: Debian's own containerd, in private directories.
 *
 * @param more what its configuration says besides
 */
export async function startContainerd(world: TempWorld, version: Version, more = ''): Promise<System> {
  const [root, state, address] = [world.join('root'), world.join('state'), world.join('containerd.sock')]
  const config = world.join('config.toml')
  const log = world.join('containerd.log')
  await writeFile(config, `${containerdConfig(root, state, address)}\n${more}`)
  const path = version.bin === undefined ? process.env.PATH : `${version.bin}${delimiter}${process.env.PATH}`
  const server = await startServer({
    command: programOf(version, 'containerd'),
    args: ['--config', config],
    log,
    env: { PATH: path ?? '' },
    ready: async () => (await runCtr({ address, version: debian12, args: ['version'] })).code === 0,
  })
  return {
    kind: 'containerd',
    address,
    root,
    state,
    logs: [log],
    processes: async () => new Map(server.pid === undefined ? [] : [['containerd', server.pid]]),
    kill: () => server.kill(),
    start: () => server.restart(),
    stop: () => server.kill('SIGTERM'),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}
