import { startRedisCluster } from '@flotilla/testing'
import { metadataSuite } from '@flotilla/testing/metadata-suite'
import { expect, it } from 'vitest'
import { clusterOptions } from './server-groups.ts'
import { createMetadata } from './store.ts'

metadataSuite('redis cluster', async () => {
  const cluster = await startRedisCluster()
  return {
    open: (origin) => createMetadata({ url: cluster.url, origin }),
    [Symbol.asyncDispose]: () => cluster[Symbol.asyncDispose](),
  }
})

it('an address names members, user and password', () => {
  expect(clusterOptions('rediss+cluster://me:secret@one,two:7000')).toEqual({
    members: [
      { host: 'one', port: 6379 },
      { host: 'two', port: 7000 },
    ],
    credentials: { username: 'me', password: 'secret' },
  })
  expect(() => clusterOptions('redis+cluster://one/1')).toThrow('redis+cluster://[user:password@]host:port')
})
