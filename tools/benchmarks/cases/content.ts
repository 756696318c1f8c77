import { ReadContentRequest } from '@flotilla/api/containerd/services/content/v1/content'
import { LeasesDefinition } from '@flotilla/api/containerd/services/leases/v1/leases'
import { callIn, connectTo } from '../../e2e/harness/clients.ts'
import { type Case, clock } from '../case.ts'
import { unaryConnection } from '../load/unary-connection.ts'
import { namespace, type Side } from '../sides.ts'

const write = 'content Write of 1 GiB'
const stream = 'content Read of 1 GiB by stream'
const pieces = 'content Read of 1 GiB in calls of 32 KiB'

export const content: Case = {
  name: 'content',
  storage: 'tmpfs',
  figures: [
    { name: write, unit: 'ms', target: 0.8 },
    { name: stream, unit: 'ms', target: 0.8 },
    { name: pieces, unit: 'ms', target: 1.2 },
  ],
  async prepare({ images }) {
    await images.blob()
  },
  async measure(side, { images }) {
    const { path, digest, size } = await images.blob()
    await keep(side, digest)
    using connection = await unaryConnection(side.address, '/containerd.services.content.v1.Content/Read', namespace)
    const written = await clock(side, () =>
      side.shell(`$CTR content ingest --expected-size ${size} --expected-digest ${digest} blob <${path}`),
    )
    const streamed = await clock(side, async () => {
      const came = await connection.call(ReadContentRequest.encode({ digest, offset: 0, size: 0 }).finish())
      if (came < size) throw new Error(`only ${came} of ${size} bytes came`)
    })
    const inPieces = await clock(side, () => side.shell(`$CTR content get ${digest} >/dev/null`))
    return { [write]: written, [stream]: streamed, [pieces]: inPieces }
  },
}

/** Nothing names the blob, so it would be collected. */
async function keep(side: Side, digest: string): Promise<void> {
  using clients = connectTo(side.address)
  const leases = clients.of(LeasesDefinition)
  await leases.create({ id: 'keep', labels: {} }, callIn(namespace))
  await leases.addResource({ id: 'keep', resource: { id: digest, type: 'content' } }, callIn(namespace))
}
