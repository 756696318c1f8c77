import { SandboxCreate, SandboxExit, SandboxStart } from '@flotilla/api/containerd/events/events'
import { Envelope } from '@flotilla/api/containerd/types/types'
import type { WireType } from '@flotilla/rpc'
import { type Bundle, readBundleFile, writeBundleFile } from './bundle.ts'
import { now } from './exit.ts'
import type { Node } from './node.ts'
import type { SandboxExit as Exit } from './sandbox.ts'

/** File of a bundle that says that the sandbox's end was put in the journal. */
const exitedFile = 'exited'

async function record<T>(node: Node, bundle: Bundle, topic: string, name: string, type: WireType<T>, message: T) {
  const event = { typeUrl: `containerd.events.${name}`, value: Buffer.from(type.encode(message).finish()) }
  await node.recorder.record(Envelope.fromPartial({ timestamp: now(), namespace: bundle.namespace, topic, event }))
}

/** Each resolves when the event is in the node's journal. */
export const sandboxEvents = {
  created: (node: Node, bundle: Bundle) =>
    record(node, bundle, '/sandboxes/create', 'SandboxCreate', SandboxCreate, { sandboxId: bundle.id }),

  started: (node: Node, bundle: Bundle) =>
    record(node, bundle, '/sandboxes/start', 'SandboxStart', SandboxStart, { sandboxId: bundle.id }),

  /** Once for each sandbox, but for a crash between journal and bundle, which tells it again. */
  async exited(node: Node, bundle: Bundle, { at, status }: Exit): Promise<void> {
    if ((await readBundleFile(bundle, exitedFile)) !== undefined) return
    const message = { sandboxId: bundle.id, exitStatus: status, exitedAt: at }
    await record(node, bundle, '/sandboxes/exit', 'SandboxExit', SandboxExit, message)
    await writeBundleFile(bundle, exitedFile, String(status))
  },
}
