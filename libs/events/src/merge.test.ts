import { describe, expect, it } from 'vitest'
import { merge } from './merge.ts'

const event = (namespace: string, id: string, time: string) => ({
  namespace,
  entry: { id, fields: new Map([['time', Buffer.from(time)]]) },
})
const order = (...outboxes: Array<Array<ReturnType<typeof event>>>) =>
  merge(outboxes).map(({ namespace, entry }) => `${namespace} ${entry.id}`)

describe('merge', () => {
  it('goes by the time of recording, then by the time of the event', () => {
    expect(
      order(
        [event('a', '5-0', '1.30'), event('a', '5-1', '1.200'), event('a', '7-0', '3.0')],
        [event('b', '5-0', '1.100'), event('b', '6-0', '0.0')],
      ),
    ).toEqual(['a 5-0', 'b 5-0', 'a 5-1', 'b 6-0', 'a 7-0'])
  })

  it('never changes the order within an outbox, whatever its events say about their time', () => {
    expect(
      order([event('a', '5-0', '9.0'), event('a', '5-1', '-62135596800.0')], [event('b', '5-0', '5.0')], []),
    ).toEqual(['b 5-0', 'a 5-0', 'a 5-1'])
  })
})
