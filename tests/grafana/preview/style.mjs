// The page's style sheet.

export const styleOf = ({ background, border, text }, { TITLE, PADDING, MARGIN, width }) => `
* { box-sizing: border-box; }
body {
  margin: 0; width: ${width}px; padding: 0 ${MARGIN}px ${MARGIN}px;
  background: ${background.canvas}; color: ${text.primary}; font: 14px/1.5 Inter, Helvetica, Arial, sans-serif;
}
header { display: flex; align-items: center; gap: 8px; height: 56px; }
h1 { font-size: 16px; font-weight: 500; margin: 0 16px 0 0; }
.variable, .time {
  display: flex; height: 32px; overflow: hidden;
  font-size: 12px; border: 1px solid ${border.medium}; border-radius: 6px;
}
.variable > *, .time { padding: 6px 8px; }
.variable b { font-weight: 500; background: ${background.secondary}; }
.time { margin-left: auto; }
main { position: relative; }
section {
  position: absolute; overflow: hidden;
  background: ${background.primary}; border: 1px solid ${border.weak}; border-radius: 6px;
}
h2 { margin: 0; padding: 0 ${PADDING}px; font-size: 14px; font-weight: 500; line-height: ${TITLE}px; }
h2, td, th, .stretch { white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.info {
  display: inline-block; width: 13px; margin-left: 8px; border: 1px solid; border-radius: 50%;
  color: ${text.disabled}; font-size: 9px; line-height: 11px; text-align: center; vertical-align: 2px;
}
.content { position: absolute; inset: ${TITLE + PADDING}px ${PADDING}px ${PADDING}px; }
.none {
  display: flex; align-items: center; justify-content: center; height: 100%; margin: 0; color: ${text.secondary};
}
.stat {
  display: flex; align-items: center; justify-content: space-around; height: 100%;
  font-weight: 500; line-height: 1; white-space: nowrap;
}
.plot { display: block; }
.plot text { font-size: 12px; fill: ${text.primary}; }
.grid { stroke: ${border.weak}; }
.mark { stroke-dasharray: 5 5; }
table { border-collapse: collapse; table-layout: fixed; width: 100%; }
td { font-weight: 400; }
th { font-weight: 500; text-align: left; }
.number, .right { text-align: right; }
.center { text-align: center; }
.table { height: 100%; overflow: auto; }
.table td, .table th { height: 36px; padding: 0 6px; border-bottom: 1px solid ${border.weak}; }
.table th { position: sticky; top: 0; background: ${background.primary}; }
.table a { color: ${text.link}; text-decoration: none; }
.legend { overflow: auto; font-size: 12px; }
.legend td, .legend th { height: 22px; padding: 0 8px; border-top: 1px solid ${border.weak}; }
.legend th { border: 0; color: ${text.link}; }
.legend .number { width: 92px; }
.legend.beside { position: absolute; top: 0; right: 0; bottom: 0; }
.legend.names span { margin-right: 12px; white-space: nowrap; }
.legend i {
  display: inline-block; width: 14px; height: 4px; margin-right: 8px; border-radius: 2px; vertical-align: 3px;
}
.stretch { position: absolute; padding: 0 4px; font-size: 12px; }
.stretch i { position: absolute; inset: 0; }
.stretch span { position: relative; color: ${text.maxContrast}; }
footer { margin-top: 8px; font-size: 12px; color: ${text.secondary}; text-align: right; }
`;
