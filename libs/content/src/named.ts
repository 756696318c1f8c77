import { keyOf, mapRedisError, tables, together } from '@flotilla/metadata'
import type { Digest } from './digest.ts'
import type { Store } from './store.ts'

/** Questions sent to Redis at once: a few milliseconds of its time, and others get theirs in between. */
const questionsAtOnce = 4_000

/** Asks of each pair whether the namespace has the digest. */
async function ask(store: Store, pairs: ReadonlyArray<readonly [namespace: string, digest: string]>) {
  const questions = pairs.map(([namespace, digest]) => ['hexists', keyOf(namespace, tables.content), digest] as const)
  const answers = await together(store.metadata.redis, questions)
  return pairs.map((_, index) => {
    const [error, answer] = answers[index] ?? [new Error('no answer')]
    // An unanswered question must never count as "nobody names it".
    if (error) throw mapRedisError(error)
    return answer === 1
  })
}

/** The namespaces that have a digest. */
export async function namespacesWith(store: Store, digest: Digest): Promise<string[]> {
  const having: string[] = []
  const names = await store.metadata.namespaceNames()
  for (let i = 0; i < names.length; i += questionsAtOnce) {
    const some = names.slice(i, i + questionsAtOnce)
    const answers = await ask(
      store,
      some.map((name) => [name, digest.text]),
    )
    having.push(...some.filter((_, index) => answers[index]))
  }
  return having
}

/** Those of the digests that no namespace has. */
export async function unnamed(store: Store, digests: readonly Digest[]): Promise<Digest[]> {
  let left = [...digests]
  const names = await store.metadata.namespaceNames()
  for (let i = 0; i < names.length && left.length > 0; ) {
    const some = names.slice(i, i + Math.max(1, Math.floor(questionsAtOnce / left.length)))
    i += some.length
    const pairs = left.flatMap((digest) => some.map((name) => [name, digest.text] as const))
    const answers = await ask(store, pairs)
    left = left.filter((_, at) => !answers.slice(at * some.length, (at + 1) * some.length).includes(true))
  }
  return left
}
