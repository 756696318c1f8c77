import { pull as pullImage } from '@flotilla/client'
import { type Command, flag, text, UsageError } from '../command.ts'
import { asJson, print } from '../print.ts'
import { showProgress } from '../progress.ts'

function credentialsOf(word: string | undefined) {
  if (word === undefined) return undefined
  const at = word.indexOf(':')
  if (at < 1) throw new UsageError('--user is not NAME:PASSWORD')
  return { username: word.slice(0, at), password: word.slice(at + 1) }
}

export const pull: Command = {
  name: 'pull',
  arguments: 'IMAGE',
  summary: 'Bring an image from its registry',
  options: {
    node: { type: 'string', value: 'NAME', text: 'unpack it on this node', completes: 'nodes' },
    platform: { type: 'string', value: 'OS/ARCH', text: "this machine's unless given" },
    user: { type: 'string', short: 'u', value: 'NAME:PASSWORD', text: 'for the registry' },
    'plain-http': { type: 'boolean', text: 'the registry speaks HTTP without TLS' },
    'hosts-dir': { type: 'string', value: 'DIR', text: 'directory with hosts.toml files, on the node' },
    snapshotter: { type: 'string', value: 'NAME', text: 'overlayfs unless given' },
  },
  count: { min: 1, max: 1 },
  async run({ client, args, values, json, signal }) {
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
