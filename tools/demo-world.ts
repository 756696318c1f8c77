// What the demo runs against: a registry with an image in it, and flotilla, in a directory of their own. Writes a line
// of JSON when both serve, and takes everything away when it gets SIGTERM.
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, rmdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { buildImage, pushImage, startRegistry, startServer, systemSnapshot, tempWorld, until } from '@flotilla/testing'

export interface DemoWorld {
  readonly directory: string
  readonly socket: string
  /** Of the image that was built. */
  readonly reference: string
  readonly log: string
}

const standalone = fileURLToPath(new URL('standalone', import.meta.url))

const told = once(process, 'SIGTERM')

await using world = await tempWorld({ name: 'demo' })
const socket = world.join('containerd.sock')
const ctr = (...args: string[]) =>
  execFileSync('ctr', ['--address', socket, ...args], { encoding: 'utf8', stdio: 'pipe' })

const registry = world.own(await startRegistry())
const image = await buildImage({
  config: { Cmd: ['sh'] },
  layers: [[{ name: 'etc/motd', content: 'Ahoy from a layer\n' }]],
})
const reference = await pushImage(registry, 'demo/busybox:1', image)
const log = world.join('flotilla.log')
world.own(
  await startServer({
    command: standalone,
    args: ['--root', world.join('root'), '--state', world.join('state'), '--address', socket],
    log,
    ready: async () => ctr('version') !== '',
  }),
)
world.cleanup(removeContainers)

const about: DemoWorld = { directory: world.path, socket, reference, log }
process.stdout.write(`${JSON.stringify(about)}\n`)
await told

/**
 * Containers would outlive flotilla, as they should; but here they are part of the show. One may just be in the making,
 * when the demo was interrupted, so this goes on until no shim is left.
 */
async function removeContainers(): Promise<void> {
  const words = (...args: string[]) =>
    ctr(...args)
      .split('\n')
      .filter((word) => word !== '')
  const namespaces = words('namespaces', 'ls', '-q')
  const ours = { mentions: [world.path] }
  await until('all containers of the demo to be gone', async () => {
    for (const namespace of namespaces)
      for (const id of words('-n', namespace, 'tasks', 'ls', '-q')) ctr('-n', namespace, 'tasks', 'rm', '--force', id)
    const { processes } = await systemSnapshot(ours)
    return processes.every((line) => !line.includes('containerd-shim'))
  })
  namespaces.forEach(removeEmptyGroups)
}

/** The control group that held a namespace's containers; one that holds others too is not empty and stays. */
function removeEmptyGroups(namespace: string): void {
  for (const controller of readdirSync('/sys/fs/cgroup')) {
    try {
      rmdirSync(`/sys/fs/cgroup/${controller}/${namespace}`)
    } catch {
      // Not there or not empty.
    }
  }
}
