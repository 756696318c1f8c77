import { hasCode, type Mount, pull, run as runContainer, status } from '@flotilla/client'
import { type Command, type Context, flag, text, texts, UsageError } from '../command.ts'
import { asJson, print } from '../print.ts'
import { showProgress } from '../progress.ts'
import { attach, checkTerminal, streamOptions } from './attach.ts'

/** What a shell says of a command that could not be started. */
export const notStarted = 125

function mountOf(word: string): Mount {
  const [source = '', destination = '', mode = 'rw', ...rest] = word.split(':')
  if (!source.startsWith('/') || !destination.startsWith('/') || rest.length > 0 || !['ro', 'rw'].includes(mode))
    throw new UsageError(`--volume "${word}" is not /SOURCE:/DESTINATION[:ro]`)
  return { source, destination, type: 'bind', options: ['rbind', mode] }
}

function labelsOf(words: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    words.map((word) => {
      const at = word.indexOf('=')
      return at < 0 ? [word, ''] : [word.slice(0, at), word.slice(at + 1)]
    }),
  )
}

/** Pulls the image if it is not there, unless told otherwise. */
async function ensureImage({ client, values, signal }: Context, image: string): Promise<void> {
  const policy = text(values, 'pull') ?? 'missing'
  if (!['missing', 'always', 'never'].includes(policy))
    throw new UsageError(`--pull "${policy}" is not missing, always or never`)
  if (policy === 'never') return
  if (policy === 'missing') {
    try {
      await client.images.get({ name: image })
      return
    } catch (error) {
      if (!hasCode(error, status.NOT_FOUND)) throw error
    }
  }
  using progress = showProgress()
  await pull(client, image, {
    signal,
    node: text(values, 'node'),
    snapshotter: text(values, 'snapshotter'),
    plainHttp: flag(values, 'plain-http'),
    onProgress: (step) => progress.update(step.name, step),
  })
}

async function start(context: Context) {
  const { client, args, values, signal } = context
  const [image = '', ...command] = args
  const terminal = flag(values, 'tty')
  const detached = flag(values, 'detach')
  if (detached && flag(values, 'rm')) throw new UsageError('--detach and --rm exclude each other')
  if (!detached) checkTerminal(terminal)
  await ensureImage(context, image)
  return await runContainer(client, {
    signal,
    image,
    args: command,
    id: text(values, 'name'),
    node: text(values, 'node'),
    env: texts(values, 'env'),
    labels: labelsOf(texts(values, 'label')),
    cwd: text(values, 'workdir'),
    user: text(values, 'user'),
    hostname: text(values, 'hostname'),
    hostNetwork: flag(values, 'net-host'),
    mounts: texts(values, 'volume').map(mountOf),
    snapshotter: text(values, 'snapshotter'),
    runtime: text(values, 'runtime'),
    terminal,
    stdin: flag(values, 'interactive'),
    output: detached ? 'log' : 'attach',
  })
}

export const run: Command = {
  name: 'run',
  arguments: 'IMAGE [COMMAND…]',
  summary: 'Run a command in a new container',
  options: {
    ...streamOptions,
    rm: { type: 'boolean', text: 'remove the container when it has ended' },
    detach: { type: 'boolean', short: 'd', text: 'print its id and leave it; flotilla logs has its output' },
    name: { type: 'string', value: 'ID', text: 'id of the container; made up unless given' },
    node: { type: 'string', value: 'NAME', text: 'the node to run on; chosen unless given', completes: 'nodes' },
    env: { type: 'string', short: 'e', multiple: true, value: 'NAME=VALUE', text: 'in its environment' },
    label: { type: 'string', short: 'l', multiple: true, value: 'KEY=VALUE', text: 'on the container' },
    user: { type: 'string', short: 'u', value: 'USER[:GROUP]', text: "instead of the image's" },
    workdir: { type: 'string', short: 'w', value: 'DIR', text: "instead of the image's" },
    hostname: { type: 'string', value: 'NAME', text: 'of the container' },
    volume: { type: 'string', short: 'v', multiple: true, value: 'SRC:DST[:ro]', text: 'a directory of the node' },
    'net-host': { type: 'boolean', text: "use the node's network" },
    pull: { type: 'string', value: 'WHEN', text: 'missing, always or never; missing unless given' },
    'plain-http': { type: 'boolean', text: 'the registry speaks HTTP without TLS' },
    snapshotter: { type: 'string', value: 'NAME', text: 'overlayfs unless given' },
    runtime: { type: 'string', value: 'NAME', text: 'io.containerd.runc.v2 unless given' },
  },
  details: `
A container that is not removed and not detached stays with its exit status until flotilla rm.

  flotilla run --rm docker.io/library/busybox:latest echo hello
  flotilla run -it --rm --node b docker.io/library/busybox:latest sh`,
  count: { min: 1, max: Number.POSITIVE_INFINITY },
  opaqueAfter: 1,
  completes: 'images',
  async run(context) {
    const { values, json, signal } = context
    let container: Awaited<ReturnType<typeof start>>
    try {
      container = await start(context)
    } catch (error) {
      if (error instanceof UsageError) throw error
      process.stderr.write(`flotilla run: ${error instanceof Error ? error.message : String(error)}\n`)
      return notStarted
    }
    if (flag(values, 'detach')) {
      print(json ? asJson({ id: container.id, node: container.node, pid: container.pid }) : container.id)
      return 0
    }
    const code = await attach(container, {
      interactive: flag(values, 'interactive'),
      terminal: flag(values, 'tty'),
      signal,
    })
    if (flag(values, 'rm')) await container.remove()
    return code
  },
}
