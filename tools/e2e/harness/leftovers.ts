import { leftBehind, nothing, systemSnapshot, until } from '@flotilla/testing'

/** Waits until no mount, process or loop device mentions a path; throws with the list if some stay. */
export async function nothingMentions(path: string): Promise<void> {
  await until(`nothing of ${path} to be left`, async () => {
    const { loops, mounts, processes } = leftBehind(nothing, await systemSnapshot({ mentions: [path] }))
    const rest = [...mounts, ...processes, ...loops]
    if (rest.length > 0) throw new Error(`left behind:\n${rest.join('\n')}`)
    return true
  })
}
