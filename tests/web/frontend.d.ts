// What web/ takes from ComfyUI's frontend, which serves these modules itself and publishes no types for them.
declare module '*/scripts/app.js' {
  export const app: any
}
declare module '*/scripts/api.js' {
  export const api: any
}
