import { PrepullProgress_State as State } from '@flotilla/api/flotilla/cluster/v1/prepull'
import { pull as pullImage } from '@flotilla/client'
import { type Command, type Context, flag, text, texts, UsageError } from '../command.ts'
import { asJson, print } from '../print.ts'
import { showProgress } from '../progress.ts'

function credentialsOf(word: string | undefined) {
  if (word === undefined) return undefined
  const at = word.indexOf(':')
  if (at < 1) throw new UsageError('--user is not NAME:PASSWORD')
  return { username: word.slice(0, at), password: word.slice(at + 1) }
}

async function toNodes({ client, args, values, json, signal }: Context, labelSelectors: string[]): Promise<number> {
  for (const option of ['node', 'user', 'hosts-dir'])
    if (text(values, option) !== undefined) throw new UsageError(`--${option} is not for a pull to many nodes`)
  const words = Object.fromEntries(Object.entries(State).map(([name, value]) => [value, name.toLowerCase()]))
  const ends: Array<{ node: string; state: string; message: string }> = []
  {
    using progress = showProgress()
    for await (const { node, state, done, total, message } of client.prepull.pull(
      {
        reference: args[0] ?? '',
        labelSelectors,
        platform: text(values, 'platform') ?? '',
        snapshotter: text(values, 'snapshotter') ?? '',
        defaultScheme: flag(values, 'plain-http') ? 'http' : '',
      },
      { signal },
    )) {
      progress.update(node, { event: words[state] ?? '', done, total })
      if (state === State.DONE || state === State.FAILED) ends.push({ node, state: words[state] ?? '', message })
    }
  }
  ends.sort((a, b) => a.node.localeCompare(b.node))
  if (json) print(asJson(ends, 2))
  else for (const { node, state, message } of ends) print(`${node} ${state}${message === '' ? '' : `: ${message}`}`)
  return ends.every(({ state }) => state === 'done') ? 0 : 1
}

export const pull: Command = {
  name: 'pull',
  arguments: 'IMAGE',
  summary: 'Bring an image from its registry',
  options: {
    node: { type: 'string', value: 'NAME', text: 'unpack it on this node', completes: 'nodes' },
    'all-nodes': { type: 'boolean', text: 'bring it to every node' },
    'node-label': {
      type: 'string',
      multiple: true,
      value: 'KEY[=VALUE]',
      text: 'bring it to every node with this label; several: with all of them',
    },
    platform: { type: 'string', value: 'OS/ARCH', text: "this machine's unless given" },
    user: { type: 'string', short: 'u', value: 'NAME:PASSWORD', text: 'for the registry' },
    'plain-http': { type: 'boolean', text: 'the registry speaks HTTP without TLS' },
    'hosts-dir': { type: 'string', value: 'DIR', text: 'directory with hosts.toml files, on the node' },
    snapshotter: { type: 'string', value: 'NAME', text: 'overlayfs unless given' },
  },
  count: { min: 1, max: 1 },
  details: `
A pull to many nodes tells of each; it ends with 1 if one of them failed. Nodes take from each other what one has, and
credentials for it from their own configuration of registries.`,
  async run(context) {
    const { client, args, values, json, signal } = context
    const labels = texts(values, 'node-label')
    if (flag(values, 'all-nodes') || labels.length > 0) return await toNodes(context, labels)
    const credentials = credentialsOf(text(values, 'user'))
    let image: Awaited<ReturnType<typeof pullImage>>
    {
      using progress = showProgress()
      image = await pullImage(client, args[0] ?? '', {
        signal,
        credentials,
        node: text(values, 'node'),
        platform: text(values, 'platform'),
        plainHttp: flag(values, 'plain-http'),
        hostsDir: text(values, 'hosts-dir'),
        snapshotter: text(values, 'snapshotter'),
        onProgress: (step) => progress.update(step.name, step),
      })
    }
    print(json ? asJson(image) : `${image.name} ${image.target?.digest}`)
    return undefined
  },
}
