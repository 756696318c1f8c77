import { DiffDefinition, DiffRequest, DiffResponse } from '@flotilla/api/containerd/services/diff/v1/diff'
import {
  clientOf,
  connect,
  createRpcServer,
  makeCall,
  notFound,
  type ServiceOf,
  status,
  unimplemented,
} from '@flotilla/rpc'
import { tempWorld } from '@flotilla/testing'
import { expect, test } from 'vitest'
import { inOrder } from './in-order.ts'

type Diff = ServiceOf<typeof DiffDefinition>

const differ = (answer: () => Promise<DiffResponse>): Diff => ({
  apply: async () => {
    throw unimplemented('apply')
  },
  diff: answer,
})
const digest = (text: string) => async () => DiffResponse.fromPartial({ diff: { digest: text } })
const request = DiffRequest.fromPartial({})

test('the next is asked when one on a socket does not do it, and only then', async () => {
  await using world = await tempWorld({ name: 'differs' })
  const server = createRpcServer()
  let answer = digest('theirs')
  server.add(
    DiffDefinition,
    differ(() => answer()),
  )
  const address = `unix://${world.join('differ.sock')}`
  await server.listen(address)
  world.cleanup(() => server.close(0))
  const channel = connect(address)
  world.cleanup(() => channel.close())
  const both = inOrder([clientOf(DiffDefinition, channel), differ(digest('ours'))])

  expect((await both.diff(request, makeCall())).diff?.digest).toBe('theirs')
  answer = async () => {
    throw unimplemented('this media type')
  }
  expect((await both.diff(request, makeCall())).diff?.digest).toBe('ours')
  answer = async () => {
    throw notFound('blob')
  }
  await expect(both.diff(request, makeCall())).rejects.toMatchObject({ code: status.NOT_FOUND })
  await expect(
    both.apply({ ...request, mounts: [], payloads: {}, syncFs: false, diff: undefined }, makeCall()),
  ).rejects.toMatchObject({ code: status.UNIMPLEMENTED })
})
