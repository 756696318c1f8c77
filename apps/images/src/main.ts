import { part, runApp } from '@flotilla/compose'

await runApp({ name: 'images', about: 'the images service in a process of its own', parts: [part.images] })
