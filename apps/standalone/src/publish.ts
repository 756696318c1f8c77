import { EventsDefinition } from '@flotilla/api/containerd/services/events/v1/events'
import { Any } from '@flotilla/api/google/protobuf/any'
import { clientOf, connect, makeCall } from '@flotilla/rpc'

/**
 * `[-address SOCKET] publish -topic T -namespace N` with a marshalled Any on stdin: how shims without a ttrpc connection
 * hand over an event (runtime v2 protocol). Flags have one or two dashes and their value after a space or `=`.
 */
export async function publish(argv: readonly string[], defaultAddress: string): Promise<void> {
  const flags = new Map<string, string>()
  for (let i = 0; i < argv.length; i++) {
    const match = /^--?([a-z-]+)(?:=(.*))?$/s.exec(argv[i] ?? '')
    if (match?.[1]) flags.set(match[1], match[2] ?? argv[++i] ?? '')
  }
  const chunks: Buffer[] = []
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer)
  const address = flags.get('address') ?? flags.get('a') ?? defaultAddress
  const channel = connect(address.startsWith('unix:') ? address : `unix://${address}`)
  try {
    const call = makeCall({ namespace: flags.get('namespace'), timeout: 10_000 })
    const bytes = Buffer.concat(chunks)
    await clientOf(EventsDefinition, channel).publish(
      { topic: flags.get('topic') ?? '', event: bytes.length === 0 ? undefined : Any.decode(bytes) },
      call,
    )
  } finally {
    channel.close()
  }
}
